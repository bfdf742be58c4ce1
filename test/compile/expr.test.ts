/** Expressions of fused kernels: how they print, and how much of them is built and printed. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  call,
  type Expr,
  fn,
  infix,
  joined,
  load,
  prefix,
  print,
  rename,
  select,
  some,
  u32,
  variable,
} from "../../engine/core/expr.ts";
import { Tensor } from "../../engine/core/tensor.ts";
import { builtBodies } from "../../engine/compile/emit/body.ts";
import { lower } from "../../engine/compile/graph/lower.ts";
import { planProgram } from "../../engine/compile/plan_program.ts";
import { emittedKernels } from "../../engine/gpu/pipelines.ts";
import { device } from "../../engine/gpu/mod.ts";
import * as vg from "../../engine/mod.ts";
import { constant, f32 } from "../../engine/ops/elementwise/constant.ts";

const [a, b, c] = ["a", "b", "c"].map(variable);

test("print() sets the parentheses that WGSL needs, and no others", () => {
  const cases: [Expr, string][] = [
    [infix(infix(a, "+", b), "*", c), "(a + b) * c"],
    [infix(a, "+", infix(b, "*", c)), "a + b * c"],
    [infix(infix(a, "-", b), "-", c), "a - b - c"],
    [infix(a, "-", infix(b, "-", c)), "a - (b - c)"],
    [infix(a, "/", infix(b, "%", c)), "a / (b % c)"],
    [infix(infix(a, "/", b), "%", c), "a / b % c"],
    [joined("&", [infix(a, "<", b), c, infix(b, "!=", c)]), "(a < b) & c & (b != c)"],
    [infix(infix(a, "&", b), "|", c), "(a & b) | c"],
    [infix(infix(a, "&", u32(3)), ">", u32(1)), "(a & 3u) > 1u"],
    [infix(infix(a, "<", b), "!=", c), "(a < b) != c"],
    [infix(infix(a, "+", b), "<", infix(c, "*", a)), "a + b < c * a"],
    [infix(infix(a, "+", b), "<<", u32(2)), "(a + b) << 2u"],
    [prefix("!", infix(a, "==", b)), "!(a == b)"],
    [prefix("-", prefix("-", a)), "-(-a)"],
    [infix(a, "-", prefix("-", b)), "a - -b"],
    [select(a, b, infix(a, "<", b)), "select(a, b, a < b)"],
    [load("b0", infix(a, "+", u32(1))), "b0[a + 1u]"],
    [fn("vg_exp", call("f32", a)), "vg_exp(f32(a))"],
  ];
  for (const [e, text] of cases) assert.is(print(e), text);
});

test("constant() prints numbers of every dtype, and what WGSL has no literal for by its bits", () => {
  const texts = [
    [1, "f32", "1f"],
    [-1.5, "f32", "(-1.5f)"],
    [-0, "f32", "vg_float(2147483648u)"],
    [Infinity, "f32", "vg_float(2139095040u)"],
    [NaN, "f32", "vg_float(2143289344u)"],
    [1 / 3, "f16", "0.333251953125f"],
    [-(2 ** 31), "i32", "(-2147483647i - 1i)"],
    [-3, "i32", "(-3i)"],
    [-1, "u32", "4294967295u"],
    [0, "bool", "false"],
  ] as const;
  for (const [value, dtype, text] of texts) assert.is(print(constant(value, dtype)), text);
  assert.is(print(f32(1e-7)), "1.0000000116860974e-7f");
});

test("some() and rename() walk over an expression", () => {
  const e = infix(load("b0", variable("o")), "*", call("max", a, variable("k")));
  const uses = (name: string): boolean => some(e, (x) => x.kind === "variable" && x.name === name);
  assert.equal(["o", "k", "a", "b"].map(uses), [true, true, true, false]);
  assert.is(print(rename(e, (name) => (name === "o" ? "o_1" : name))), "b0[o_1] * max(a, k)");
});

/** A step of a U-Net with two levels, as a function of its arguments. */
const shapes = [[8, 1, 3, 3, 3], [8, 8, 3, 3, 3], [2, 16, 1, 1, 1], [1, 1, 8, 8, 8]];
function step(...[v, w, u, x]: Tensor[]): Tensor[] {
  const lossOf = ([v, w, u]: Tensor[]): Tensor => {
    const block = (h: Tensor, weight: Tensor, stride = 1): Tensor =>
      vg.relu(vg.groupNorm(vg.conv3d(h, weight, { padding: 1, stride }), { groups: 4 }));
    const e = block(x, v);
    const d = vg.resize(block(e, w, 2), { size: [8, 8, 8], mode: "linear" });
    return vg.logSoftmax(vg.conv3d(vg.concat([e, d], { axis: 1 }), u), { axis: 1 }).mean();
  };
  const [loss, grads] = vg.valueAndGrad(lossOf)([v, w, u]);
  return [loss, ...[v, w, u].map((p, k) => p.sub(grads[k].mul(0.1)))];
}

test("planProgram() builds no statements; compile() emits every kernel once", async () => {
  const { target } = await device();
  const args = shapes.map((shape) => new Tensor(shape, "f32", { kind: "placeholder" }));
  const bodies = builtBodies();
  const { schedule } = planProgram(lower(step(...args), target, args), target);
  assert.is(builtBodies(), bodies);
  const before = emittedKernels();
  const { dispatches } = await vg.compile(step).plan(...shapes.map((shape) => vg.ones(shape)));
  assert.is(dispatches, schedule.steps.length);
  assert.is(emittedKernels() - before, dispatches);
});

test.after(vg.closeDevice);
test.run();
