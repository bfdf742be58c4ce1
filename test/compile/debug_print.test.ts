// deno-lint-ignore-file no-explicit-any
/** debugPrint: lines in order, in and out of compiled functions, through transforms, loops and branches. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { refuses } from "../helpers/refuse.ts";

const { compile, cond, customVjp, debugPrint, evaluate, foriLoop, grad, jvp, scan, tensor, vmap, whileLoop } = vg;

let lines: string[] = [];
test.before.each(() => {
  lines = [];
  vg.setHost({ log: (line) => lines.push(line) });
});
test.after.each(() => vg.setHost({ log: undefined }));

/** The lines of calls that are awaited, and of prints outside of compiled functions. */
async function printed(f: () => unknown): Promise<string[]> {
  lines = [];
  await f();
  // Prints outside of compiled functions come when their values are read.
  for (let k = 0; k < 50 && lines.length === 0; k++) await new Promise((resolve) => setTimeout(resolve, 20));
  return lines;
}

test("debugPrint() in a compiled function prints after each run, in order, before the call resolves", async () => {
  const f = compile((x: Tensor, scale: Tensor) => {
    debugPrint("first", x);
    const y = x.mul(scale);
    debugPrint("second", { y, count: tensor(2, { dtype: "i32" }), rest: [y.sum(), "text", 3, null, y.greater(2)] });
    return y.sum();
  });
  for (const scale of [1, 0.5]) {
    const wanted = [
      "first: [1, 2, 4]",
      `second: { y: [${[1, 2, 4].map((v) => v * scale).join(", ")}], count: 2, rest: [${7 * scale}, text, 3, null, ` +
      `[${[1, 2, 4].map((v) => v * scale > 2).join(", ")}]] }`,
    ];
    lines = [];
    const result = await f(tensor([1, 2, 4]), scale);
    assert.equal(lines, wanted);
    assert.is(await (result as Tensor).item(), 7 * scale);
  }
});

test("debugPrint() of a donated argument prints its value before it is overwritten", async () => {
  const f = compile((x: Tensor) => {
    debugPrint("before", x);
    return x.add(1);
  }, { donate: [0] });
  const next = await f(tensor([1, 2])) as Tensor;
  await f(next);
  assert.equal(lines, ["before: [1, 2]", "before: [2, 3]"]);
});

test("debugPrint() outside of compiled functions prints soon, in order, also if tensors are disposed of", async () => {
  const x = await evaluate(tensor([0.1, 1e-8, 1 / 3]));
  debugPrint("a", x);
  debugPrint("b", 1);
  x.dispose();
  await vg.closeDevice();
  assert.equal(lines, ["a: [0.1, 1e-8, 0.3333333]", "b: 1"]);
});

test("debugPrint() under grad() and jvp() prints the values of the function once", async () => {
  const f = (x: Tensor): Tensor => {
    const y = x.square();
    debugPrint("y", y);
    return y.sum();
  };
  assert.equal(await printed(() => grad(f)(tensor([1, 2])).data()), ["y: [1, 4]"]);
  assert.equal(await printed(() => compile((x: Tensor) => grad(f)(x))(tensor([1, 3]))), ["y: [1, 9]"]);
  assert.equal(await printed(() => compile((x: Tensor) => jvp(f, [x], [x])[1])(tensor([1, 3]))), ["y: [1, 9]"]);
  assert.equal(await printed(() => compile((x: Tensor) => grad(vg.checkpoint(f))(x))(tensor([2]))), ["y: [4]"]);
  const rule = customVjp((x: Tensor) => x.mul(2), (x: Tensor) => [x.mul(2), null], (_, g: Tensor) => {
    debugPrint("cotangent", g);
    return [g.mul(2)];
  });
  assert.equal(await printed(() => compile((x: Tensor) => grad((x: Tensor) => rule(x).square())(x))(tensor(3))), [
    "cotangent: 12",
  ]);
});

test("debugPrint() under vmap() prints for each example, and once what is the same for all", async () => {
  const f = (x: Tensor, w: Tensor): Tensor => {
    debugPrint("x", x);
    debugPrint("w", w);
    return x.mul(w).sum();
  };
  const both = (x: Tensor, w: Tensor) => vmap(f, { inAxes: [0, null] })(x, w);
  const [x, w] = [tensor([[1, 2], [3, 4]]), tensor([5, 6])];
  const wanted = ["x: [1, 2]", "x: [3, 4]", "w: [5, 6]"];
  assert.equal(await printed(() => compile(both)(x, w)), wanted);
  lines = [];
  await both(x, w).data();
  await vg.closeDevice();
  assert.equal(lines, wanted);
  const nested = compile((x: Tensor) => vmap(vmap((x: Tensor) => (debugPrint("e", x), x)))(x));
  assert.equal(await printed(() => nested(tensor([[1, 2], [3, 4]]))), ["e: 1", "e: 2", "e: 3", "e: 4"]);
});

test("debugPrint() in a loop prints in each iteration, in the order of the steps", async () => {
  const step = (c: Tensor, x: Tensor): [Tensor, Tensor] => {
    debugPrint("carry", c);
    debugPrint("x", x);
    return [c.add(x), c];
  };
  const f = (options: object) =>
    compile((xs: Tensor) => {
      debugPrint("start", xs);
      return scan(step, tensor(0), xs, options)[0];
    });
  const xs = tensor([1, 2, 3]);
  const all = ["start: [1, 2, 3]", "carry: 0", "x: 1", "carry: 1", "x: 2", "carry: 3", "x: 3"];
  assert.equal(await printed(() => f({})(xs)), all);
  assert.equal(await printed(() => f({ reverse: true })(xs)), [
    all[0],
    "carry: 0",
    "x: 3",
    "carry: 3",
    "x: 2",
    "carry: 5",
    "x: 1",
  ]);
  const digits = compile(() =>
    foriLoop(0, 7, (i, c: Tensor) => (debugPrint("i", i), c.add(i)), tensor(0), { checkpoint: 3 })
  );
  assert.equal(await printed(() => digits()), [0, 1, 2, 3, 4, 5, 6].map((i) => `i: ${i}`));
  const nested = compile(() =>
    foriLoop(0, 2, (i, c: Tensor) => foriLoop(0, 2, (j, c: Tensor) => (debugPrint("ij", [i, j]), c), c), tensor(0))
  );
  assert.equal(await printed(() => nested()), ["ij: [0, 0]", "ij: [0, 1]", "ij: [1, 0]", "ij: [1, 1]"]);
  // The derivative prints nothing of its own.
  const slope = compile((xs: Tensor) => grad((xs: Tensor) => scan(step, tensor(0), xs)[1].sum())(xs));
  assert.equal(await printed(() => slope(tensor([1, 2]))), ["carry: 0", "x: 1", "carry: 1", "x: 2"]);
  const each = compile((xs: Tensor) => vmap((xs: Tensor) => scan(step, tensor(0), xs)[0])(xs));
  assert.equal(await printed(() => each(tensor([[1, 2], [3, 4]]))), [
    "carry: 0",
    "x: 1",
    "carry: 1",
    "x: 2",
    "carry: 0",
    "x: 3",
    "carry: 3",
    "x: 4",
  ]);
});

test("debugPrint() in a branch of cond() prints where it is taken", async () => {
  const f = (x: Tensor): Tensor =>
    cond(x.greater(0), (x: Tensor) => {
      debugPrint("positive", x);
      return x;
    }, (x: Tensor) => {
      debugPrint("other", x.neg());
      return x;
    }, x);
  assert.equal(await printed(() => compile(f)(tensor(2))), ["positive: 2"]);
  assert.equal(await printed(() => compile(f)(tensor(-2))), ["other: 2"]);
  const wanted = ["positive: 1", "positive: 3", "other: 2"];
  assert.equal(await printed(() => compile((x: Tensor) => vmap(f)(x))(tensor([1, -2, 3]))), wanted);
  // Of a loop that ends early, the steps that are taken.
  const halve = compile((x: Tensor) =>
    whileLoop((x: Tensor) => x.greater(1), (x: Tensor) => (debugPrint("x", x), x.mul(0.5)), x, { bound: 9 })
  );
  assert.equal(await printed(() => halve(tensor(5))), ["x: 5", "x: 2.5", "x: 1.25"]);
});

test("debugPrint() shows the ends of large tensors, and all element types", async () => {
  const f = compile((x: Tensor) => {
    debugPrint("large", x);
    debugPrint("matrix", x.reshape({ shape: [2, 200] }));
    debugPrint("u32", x.slice({ end: [2] }).cast("u32"));
    debugPrint("empty", x.slice({ end: [0] }));
    debugPrint("numbers", x.slice({ end: [3] }).sub(1).log());
    return x;
  });
  await f(vg.arange(400).cast("f32"));
  assert.equal(lines, [
    "large: [0, 1, 2, ..., 397, 398, 399]",
    "matrix: [[0, 1, 2, ..., 197, 198, 199], [200, 201, 202, ..., 397, 398, 399]]",
    "u32: [0, 1]",
    "empty: []",
    "numbers: [NaN, -Infinity, 0]",
  ]);
});

test("debugPrint() refuses another label and options", async () => {
  await refuses(() => debugPrint(3 as any, tensor(1)), /^debugPrint: the label is a string, got 3$/);
  await refuses(() => (debugPrint as any)("a", tensor(1), {}), /^debugPrint: it takes no options, got \{\}$/);
});

test.after(vg.closeDevice);
test.run();
