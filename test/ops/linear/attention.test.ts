/** Attention against PyTorch 1.13 in float64 and float64 loops, its memory, and its limits. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { compile, grad, ones, scaledDotProductAttention, type Tensor, tensor } from "../../../engine/mod.ts";
import { lowerAttention } from "../../../shaders/attention/forward.wgsl.ts";
import { lowerAttentionGradient } from "../../../shaders/attention/gradients.wgsl.ts";
import { lowerAttentionTermGradient } from "../../../shaders/attention/term_gradient.wgsl.ts";
import { near } from "../../helpers/compare.ts";
import { closeRunner, openRunner, runLowered } from "../../helpers/conv_kernel_runner.ts";
import { attentionInputs, attentionSizes } from "../../helpers/races/cases/attention.ts";
import { attention } from "../../helpers/reference/attention.ts";
import { goldenCases, wave } from "../../helpers/reference/golden_cases.ts";
import { refuses } from "../../helpers/refuse.ts";

const [q, k, v] = [wave([2, 3, 5, 4], 0.1), wave([2, 3, 7, 4], 0.6), wave([2, 3, 7, 6], 1.3)];
const bias = wave([3, 5, 7], 0.9);
const mask = tensor(Float32Array.from({ length: 14 }, (_, i) => Number(i % 4 !== 1)), { shape: [2, 1, 1, 7] }).cast(
  "bool",
);
const of = scaledDotProductAttention;

goldenCases("attention", {
  query: [(x) => of(x, k, v), q],
  key: [(x) => of(q, x, v), k],
  value: [(x) => of(q, k, x), v],
  "masked query": [(x) => of(x, k, v, { mask, bias }), q],
  "masked key": [(x) => of(q, x, v, { mask, bias }), k],
  bias: [(x) => of(q, k, v, { mask, bias: x }), bias],
  "additive mask of keys": [(x) => of(q, k, v, { mask: x, scale: 0.7 }), wave([2, 1, 1, 7], 0.4)],
  "causal query": [(x) => of(x, k, v, { causal: true }), q],
  "causal key": [(x) => of(q, x, v, { causal: true }), k],
  self: [(x) => of(x, x, x, { causal: true }), q],
});

const runner = await openRunner();
for (const p of attentionSizes) {
  test(`lowerAttention() and its gradients compile, and agree with float64: ${JSON.stringify(p)}`, async () => {
    const x = attentionInputs(p);
    const wanted = attention(p, x);
    // The runner's inputs are of 32 bits each.
    const terms = x.terms.map((t) => new Float32Array(t.buffer));
    const forward = [x.query, x.key, x.value];
    const backward = [...forward, x.cotangent, Float32Array.from(wanted.known), ...terms];
    const close = (list: ArrayLike<number>): number[] => Array.from(list, (y) => (y < -1e29 ? -9 : y));
    for (const variant of ["tile", "tile_shared"]) {
      if (variant === "tile_shared" && !runner.target.features.has("subgroups")) continue;
      const { output } = await runLowered(
        runner,
        lowerAttention(p, runner.target, variant),
        [...forward, ...terms],
        wanted.y.length,
      );
      near(close(output), close(wanted.y), 3e-6, variant);
      for (const part of ["query", "key", "value"] as const) {
        const lowered = lowerAttentionGradient(part, p, runner.target, variant);
        const { output } = await runLowered(runner, lowered, backward, wanted[part].length);
        near(output, wanted[part], 1e-5, `${variant} ${part}`);
      }
      for (const [term, { mask }] of p.terms.entries()) {
        if (mask) continue;
        const lowered = lowerAttentionTermGradient({ ...p, term }, runner.target, variant);
        const { output } = await runLowered(runner, lowered, backward, wanted.terms[term].length);
        near(output, wanted.terms[term], 1e-5, `${variant} term`);
      }
    }
  });
}

test("scaledDotProductAttention() needs memory in proportion to the length, with its gradients too", async () => {
  const peak = async (length: number): Promise<number> => {
    const x = ones([1, length, 4]);
    const loss = (q: Tensor, k: Tensor, v: Tensor): Tensor => of(q, k, v, { causal: true }).square().sum();
    const step = compile((x: Tensor) => grad(loss, { argnums: [0, 1, 2] })(x, x, x));
    return (await step.plan(x)).peakBytes;
  };
  const [short, long] = [await peak(4096), await peak(32768)];
  assert.ok(long < 8.1 * short, `${long} bytes, of an eighth of the length ${short}`);
  assert.ok(long < 32768 * 4 * 4 * 20, "no lengths x lengths numbers");
});

test("scaledDotProductAttention() of queries without keys is 0, and has no slopes", async () => {
  const none = ones([5, 7]).mul(tensor([[0], [1], [1], [1], [1]])).cast("bool");
  const by = (x: Tensor): Tensor => of(x, k, v, { mask: none }).square().sum();
  const y = await of(q, k, v, { mask: none }).select({ axis: 2, index: 0 }).data();
  assert.ok(Array.from(y as Float32Array).every((x) => x === 0));
  const slopes = [grad(by)(q), vg.hvp(by, [q], [q])[0]];
  for (const g of slopes) {
    const data = Array.from((await g.data()) as Float32Array);
    assert.ok(data.every(Number.isFinite) && data.some((x) => x !== 0));
  }
});

test("scaledDotProductAttention() takes large logits and infinite biases, and keeps NaN", async () => {
  const large = of(q.mul(1e4), k, v);
  assert.ok(Array.from((await large.data()) as Float32Array).every(Number.isFinite));
  const closed = vg.where(mask, 0, -Infinity);
  const numbers = async (y: Tensor): Promise<number[]> => Array.from((await y.data()) as Float32Array);
  near(await numbers(of(q, k, v, { bias: closed })), await numbers(of(q, k, v, { mask })), 1e-6, "closed");
  const broken = of(q, k, v.mul(NaN));
  assert.ok(Array.from((await broken.data()) as Float32Array).every(Number.isNaN));
  const query = await of(q.mul(NaN), k, v).data();
  assert.ok(Array.from(query as Float32Array).every(Number.isNaN));
});

test("scaledDotProductAttention() of no queries, keys or samples is empty or 0", async () => {
  assert.equal(of(ones([0, 5, 4]), ones([0, 7, 4]), ones([0, 7, 6])).shape, [0, 5, 6]);
  assert.equal(of(ones([0, 4]), ones([7, 4]), ones([7, 6])).shape, [0, 6]);
  assert.equal(await of(ones([2, 4]), ones([0, 4]), ones([0, 1])).array(), [[0], [0]]);
});

test("scaledDotProductAttention() refuses what does not match, with the fix", () => {
  refuses(() => of(q, ones([2, 3, 7, 5]), v), /query \[\.\.\., queries, features\].* match, got \[2, 3, 5, 4\]/);
  refuses(
    () => of(q, k, v, { mask: ones([5, 6]) }),
    /the mask is a bool or f32 tensor that broadcasts to \[2, 3, 5, 7\]/,
  );
  refuses(() => of(q, k, v, { bias: mask }), /the bias is a f32 tensor that broadcasts/);
  refuses(() => of(q, k, v, { scale: NaN }), /scale is a finite number, got NaN/);
});

test.after(() => {
  closeRunner(runner);
  vg.closeDevice();
});
test.run();
