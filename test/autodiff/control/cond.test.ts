// deno-lint-ignore-file no-explicit-any
/** cond and whileLoop: values and derivatives of the branch or the steps that are taken, and only of those. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import type { Tensor } from "../../../engine/mod.ts";
import { near } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

const { compile, cond, foriLoop, grad, hvp, jvp, scan, tensor, tree, vmap, whileLoop } = vg;
const api = vg as any;
const filled = (shape: number[], seed: number): Tensor =>
  tensor(noise(shape.reduce((a, b) => a * b, 1), seed), { shape });
const values = async (out: unknown): Promise<number[]> => {
  const leaves = tree.leaves(await vg.evaluate(out)) as Tensor[];
  return (await Promise.all(leaves.map((t) => t.data()))).flatMap((a) => [...a]);
};

const w = filled([3], 1);
/** x^2 w or sin(x) by the sign of the sum, and a count of another dtype. */
const branches = [
  (p: any) => ({ y: p.x.square().mul(w), n: p.n.add(1) }),
  (p: any) => ({ n: p.n, y: p.x.sin() }),
] as const;
const chosen = (x: Tensor): any =>
  cond(x.sum().greater(0), branches[0] as any, branches[1] as any, { x, n: tensor(4, { dtype: "i32" }) });

for (const sign of [1, -1]) {
  test(`cond() gives values and derivatives of the branch taken, sum ${sign > 0 ? "above" : "below"} 0`, async () => {
    const x = tensor([0.5, -0.25, 1]).mul(sign);
    const [a, v] = [filled([3], 2), filled([3], 3)];
    const alone = (x: Tensor): any => branches[sign > 0 ? 0 : 1]({ x, n: tensor(4, { dtype: "i32" }) });
    const [ours, theirs] = [chosen, alone].map((f) => (x: Tensor) => f(x).y.mul(a).sum());
    const result = await vg.evaluate(chosen(x));
    near(await result.y.data(), await alone(x).y.data(), 1e-6, "y");
    assert.is(await result.n.item(), sign > 0 ? 5 : 4);
    near(await values(grad(ours)(x)), await values(grad(theirs)(x)), 1e-6, "grad");
    near(await values(jvp(ours, [x], [v])), await values(jvp(theirs, [x], [v])), 1e-6, "jvp");
    near(await values(hvp(ours, [x], [v])), await values(hvp(theirs, [x], [v])), 1e-6, "hvp");
    const third = (f: (x: Tensor) => Tensor) =>
      grad((x: Tensor) => grad((x) => grad(f)(x).mul(v).sum())(x).mul(v).sum());
    near(await values(third(ours)(x)), await values(third(theirs)(x)), 1e-5, "third");
    near(await values(await compile((x: Tensor) => grad(ours)(x))(x)), await values(grad(theirs)(x)), 1e-6, "compiled");
  });
}

test("cond() takes no derivative of the branch that is not taken: infinite slopes stay out", async () => {
  // With an operand, and with a tensor that both functions use from outside.
  const given = (x: Tensor): Tensor => cond(x.greater(0), (x: Tensor) => x.sqrt(), (x: Tensor) => x.mul(3), x);
  const captured = (x: Tensor): Tensor => cond(x.greater(0), () => x.sqrt(), () => x.mul(3));
  for (const f of [given, captured]) {
    for (const [x, first, second] of [[4, 0.25, -1 / 32], [0, 3, 0], [-1, 3, 0]]) {
      assert.is(await grad(f)(tensor(x)).item(), first);
      assert.is(await jvp(f, [tensor(x)], [tensor(1)])[1].item(), first);
      assert.is(await grad(grad(f))(tensor(x)).item(), second);
      assert.is(await hvp(f, [tensor(x)], [tensor(1)])[0].item(), second);
      assert.is(await grad((x: Tensor) => jvp(f, [x], [tensor(1)])[1])(tensor(x)).item(), second);
    }
    const all = vmap(grad(f))(tensor([4, 0, -1]));
    assert.equal(await all.array(), [0.25, 3, 3]);
    assert.equal(await vmap(grad(grad(f)))(tensor([4, 0, -1])).array(), [-1 / 32, 0, 0]);
  }
});

test("vmap() of cond() chooses for each example, or for all, with gradients of what is shared", async () => {
  const f = (x: Tensor, flag: Tensor, w: Tensor): Tensor =>
    cond(flag, (x: Tensor) => x.mul(w).sin(), (x: Tensor) => x.div(w).mul(w).mul(w), x).sum();
  const [x, flags] = [filled([4, 3], 4), tensor([true, false, false, true])];
  for (const inAxes of [[0, 0, null], [null, 0, null], [0, null, null], [null, 0, 0]] as const) {
    const args = [
      inAxes[0] === 0 ? x : filled([3], 5),
      inAxes[1] === 0 ? flags : tensor(false),
      inAxes[2] === 0 ? filled([4, 3], 6) : w,
    ] as const;
    const batched = (x: Tensor, w: Tensor): Tensor => vmap(f, { inAxes: [...inAxes] })(x, args[1], w).sum();
    const pick = (t: Tensor, axis: number | null, k: number): Tensor =>
      axis === null ? t : t.slice({ start: [k], end: [k + 1] }).squeeze({ axes: [0] });
    const onOne = (x: Tensor, w: Tensor): Tensor =>
      [0, 1, 2, 3].map((k) => f(pick(x, inAxes[0], k), pick(args[1], inAxes[1], k), pick(w, inAxes[2], k)))
        .reduce((a, b) => a.add(b));
    for (const argnums of [0, 1]) {
      const [ours, theirs] = [batched, onOne].map((g) => grad(g, { argnums })(args[0], args[2]));
      near(await values(ours), await values(theirs), 1e-5, `${inAxes} ${argnums}`);
    }
  }
  const nested = vmap(vmap(f, { inAxes: [0, 0, null] }), { inAxes: [0, null, null] });
  const got = await nested(filled([2, 4, 3], 7), flags, w).array();
  const rows = filled([2, 4, 3], 7);
  for (const k of [0, 1]) {
    const row = rows.slice({ start: [k], end: [k + 1] }).squeeze({ axes: [0] });
    near((got as any)[k], await values(vmap(f, { inAxes: [0, 0, null] })(row, flags, w)), 1e-6, "nested");
  }
});

test("cond() within cond(), and with a plain boolean", async () => {
  const f = (x: Tensor): Tensor =>
    cond(
      x.greater(0),
      (x: Tensor) => cond(x.greater(1), (x: Tensor) => x.sub(1).sqrt(), (x: Tensor) => x.neg().add(1).sqrt(), x),
      (x) => x.exp(),
      x,
    );
  for (const [x, slope] of [[1.25, 1], [0.75, -1], [-1, Math.exp(-1)]]) {
    near([await grad(f)(tensor(x)).item()], [slope], 1e-6, `${x}`);
  }
  assert.is(await cond(true, (x: Tensor) => x.mul(2), () => assert.unreachable() as never, tensor(3)).item(), 6);
});

/** Newton's method for the root of a. */
const newton = (options: any = { bound: 30 }) => (a: Tensor): Tensor =>
  whileLoop(
    (x: Tensor) => x.square().sub(a).abs().greater(a.mul(1e-6)),
    (x: Tensor) => x.add(a.div(x)).mul(0.5),
    a.mul(0).add(1),
    options,
  );

test("whileLoop() ends by its condition, with derivatives in both modes and vmap", async () => {
  for (const options of [{ bound: 30 }, { bound: 30, checkpoint: true }]) {
    const f = newton(options);
    near([await f(tensor(2)).item()], [Math.SQRT2], 1e-6, "root");
    near([await jvp(f, [tensor(4)], [tensor(1)])[1].item()], [0.25], 1e-5, "forward");
    near([await grad(f)(tensor(4)).item()], [0.25], 1e-5, "reverse");
    near(await vmap(f)(tensor([1, 2, 100])).data(), [1, Math.SQRT2, 10], 1e-6, "each");
    // At 1 there is no step.
    near(await vmap(grad(f))(tensor([1, 4, 100])).data(), [0, 0.25, 0.05], 1e-5, "slope of each");
  }
});

test("whileLoop() counts the steps of a while loop, up to its bound", async () => {
  const collatz = (bound: number) =>
    compile((n: Tensor) =>
      whileLoop(
        ({ n }: any) => n.greater(1),
        ({ n, steps }: any) => {
          const half = n.div(2).cast("i32");
          return { n: vg.where(n.sub(half.mul(2)).equal(0), half, n.mul(3).add(1)), steps: steps.add(1) };
        },
        { n: n.cast("i32"), steps: tensor(0, { dtype: "i32" }) },
        { bound },
      ).steps
    );
  const steps = (n: number): number => (n === 1 ? 0 : 1 + steps(n % 2 ? 3 * n + 1 : n / 2));
  const all = collatz(120);
  for (const n of [1, 6, 27]) assert.is(await ((await all(n)) as Tensor).item(), steps(n));
  assert.is(await ((await collatz(5)(27)) as Tensor).item(), 5);
  assert.is(await ((await collatz(0)(27)) as Tensor).item(), 0);
});

test("a step after the end of whileLoop() has no effect on derivatives, even if it divides by 0", async () => {
  // Halves x until it is below 1; then 1 / (x - x_end) would be infinite.
  const f = (x: Tensor): Tensor =>
    whileLoop((c: any) => c.x.greater(1), (c: any) => ({ x: c.x.mul(0.5), y: c.x.sub(0.75).pow(-1) }), { x, y: x }, {
      bound: 6,
    }).y;
  // 3, 1.5, 0.75: y = 1 / (1.5 - 0.75), at x / 2.
  near([await f(tensor(3)).item()], [1 / 0.75], 1e-6, "value");
  near([await grad(f)(tensor(3)).item()], [-0.5 / 0.75 ** 2], 1e-6, "slope");
});

test("scan(), foriLoop() and cond() nest", async () => {
  const f = (x: Tensor, us: Tensor): Tensor =>
    scan(
      (c: Tensor, u: Tensor) => {
        const next = cond(u.greater(0), (c: Tensor) =>
          foriLoop(0, 3, (_, d: Tensor) => d.mul(u), c), (c: Tensor) =>
          c.add(u), c);
        return [next, null] as [Tensor, null];
      },
      x,
      us,
    )[0];
  const us = [0.5, -0.25, 2, -1];
  const at = (x: number, us: number[]): number => us.reduce((c, u) => (u > 0 ? c * u ** 3 : c + u), x);
  near([await f(tensor(1.5), tensor(us)).item()], [at(1.5, us)], 1e-6, "value");
  const [dx, du] = grad(f, { argnums: [0, 1] })(tensor(1.5), tensor(us));
  near([await dx.item()], [1], 1e-6, "dx");
  const slope = (k: number): number => {
    const [a, b] = [1e-6, -1e-6].map((h) => at(1.5, us.map((u, j) => (j === k ? u + h : u))));
    return (a - b) / 2e-6;
  };
  near(await du.data(), us.map((_, k) => slope(k)), 1e-5, "du");
});

test("cond() and whileLoop() refuse what does not fit", async () => {
  const x = vg.ones([2]);
  const same = (t: any) => t;
  const truth = tensor(true);
  await refuses(() => api.cond(truth, 1, same, x), /^cond: onTrue is a function, got 1$/);
  await refuses(() => api.cond(x, same, same, x), /^cond: the predicate is a bool scalar, .*got Tensor\(f32\[2\]\)$/);
  await refuses(
    () => api.cond(tensor(1), same, same, x),
    /^cond: the predicate is a bool scalar, .*Tensor\(f32\[\]\)$/,
  );
  await refuses(
    () => api.cond(truth, same, same, { a: 1 }),
    /^cond: the list of operands is a tree of tensors, got 1 at 0\.a; write/,
  );
  await refuses(
    () => api.cond(truth, (t: any) => ({ a: t }), (t: any) => ({ a: t.sum() }), x),
    /^cond: the result of onFalse at a: the shape is that of Tensor\(f32\[2\]\), which onTrue gives, got Tensor\(f32\[\]\)/,
  );
  await refuses(
    () => api.cond(truth, same, (t: any) => t.cast("i32"), x),
    /^cond: the result of onFalse: the dtype is that/,
  );
  await refuses(() => api.cond(truth, same, () => null, x), /^cond: the result of onFalse: missing/);
  await refuses(() => api.cond(truth, async () => x, same, x), /^cond: .*the function is asynchronous/);
  const loop = (condition: any, body: any, options: any) => () => api.whileLoop(condition, body, x, options);
  await refuses(loop(() => truth, same, undefined), /^whileLoop: options\.bound, the most steps, is missing$/);
  await refuses(loop(() => truth, same, {}), /^whileLoop: bound, the most steps, is an integer >= 0, got undefined$/);
  await refuses(loop((t: any) => t, same, { bound: 3 }), /^whileLoop: the condition is a bool scalar, .*got Tensor/);
  await refuses(
    loop(() => truth, (t: any) => t.sum(), { bound: 3 }),
    /^whileLoop: the carry that body returns: the shape/,
  );
  await refuses(
    loop(() => truth, same, { bound: 3, most: 4 }),
    /^whileLoop: unknown option "most"; it takes bound, checkpoint$/,
  );
});

test.after(vg.closeDevice);
test.run();
