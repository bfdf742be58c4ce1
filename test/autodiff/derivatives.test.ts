// deno-lint-ignore-file no-explicit-any
/** jacobian, hessian, linearize, customJvp, argnums and axes by leaf, against closed forms in float64. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { near } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

const { compile, customJvp, grad, hessian, hvp, jacobian, jvp, linearize, scan, tensor, tree, vjp, vmap } = vg;
const filled = (shape: number[], seed: number): Tensor =>
  tensor(noise(shape.reduce((a, b) => a * b, 1), seed), { shape });
const values = async (out: unknown): Promise<number[]> => {
  const leaves = tree.leaves(await vg.evaluate(out)) as Tensor[];
  return (await Promise.all(leaves.map((t) => t.data()))).flatMap((a) => [...a]);
};

/** y_i = sin(sum_j A_ij x_j) b_i: derivatives by hand. */
const [m, n] = [3, 4];
const [A, x, b] = [noise(m * n, 1), noise(n, 2), noise(m, 3)];
const f = (x: Tensor, b: Tensor): Tensor =>
  tensor(A, { shape: [m, n] }).matmul(x.reshape({ shape: [n, 1] }))
    .reshape({ shape: [m] }).sin().mul(b);
const inner = Array.from({ length: m }, (_, i) => x.reduce((sum, v, j) => sum + A[i * n + j] * v, 0));
const byX = inner.flatMap((v, i) => Array.from({ length: n }, (_, j) => Math.cos(v) * b[i] * A[i * n + j]));
const byB = inner.flatMap((v, i) => Array.from({ length: m }, (_, k) => (i === k ? Math.sin(v) : 0)));

test("jacobian() is the matrix of derivatives in both modes, by any argument", async () => {
  for (const mode of [undefined, "forward", "reverse"] as const) {
    const options = mode ? { mode } : {};
    const J = jacobian(f, options)(tensor(x), tensor(b));
    assert.equal([...J.shape], [m, n]);
    near(await J.data(), byX, 1e-6, `${mode} by x`);
    near(await jacobian(f, { ...options, argnums: 1 })(tensor(x), tensor(b)).data(), byB, 1e-6, `${mode} by b`);
    const both = jacobian(f, { ...options, argnums: [1, 0] })(tensor(x), tensor(b));
    near(await values(both), [...byB, ...byX], 1e-6, `${mode} by both`);
  }
});

test("jacobian() takes the mode with fewer derivatives", async () => {
  // A loop that takes part in a derivative for each direction: its size tells the number of them.
  const widest = async (inputs: number, outputs: number): Promise<number> => {
    const g = (x: Tensor): Tensor => x.sum().mul(filled([outputs], 4)).sin();
    const plan = await compile((x: Tensor) => jacobian(g)(x)).plan(filled([inputs], 5));
    return plan.kernels.length;
  };
  const forced = async (mode: "forward" | "reverse", inputs: number, outputs: number): Promise<number> => {
    const g = (x: Tensor): Tensor => x.sum().mul(filled([outputs], 4)).sin();
    return (await compile((x: Tensor) => jacobian(g, { mode })(x)).plan(filled([inputs], 5))).kernels.length;
  };
  assert.is(await widest(2, 50), await forced("forward", 2, 50));
  assert.is(await widest(50, 2), await forced("reverse", 50, 2));
});

test("jacobian() of trees gives the argument's tree for each result", async () => {
  const g = (p: { w: Tensor; v: Tensor[] }, y: Tensor) => ({ a: p.w.mul(y), b: [p.v[0].square().sum(), p.w.sum()] });
  const p = { w: tensor([1, 2]), v: [tensor([3, 4, 5])] };
  for (const mode of ["forward", "reverse"] as const) {
    const J = jacobian(g, { mode })(p, tensor([10, 20]));
    assert.equal(await J.a.w.array(), [[10, 0], [0, 20]]);
    assert.equal(await J.a.v[0].array(), [[0, 0, 0], [0, 0, 0]]);
    assert.equal(await J.b[0].v[0].array(), [6, 8, 10]);
    assert.equal(await J.b[1].w.array(), [1, 1]);
    const list = jacobian(g, { mode, argnums: [1] })(p, tensor([10, 20])) as any;
    assert.equal(await list.a[0].array(), [[1, 0], [0, 2]]);
  }
  const empty = jacobian((x: Tensor) => x.mul(2), { mode: "forward" })(vg.zeros([0]));
  assert.equal([...empty.shape], [0, 0]);
  assert.equal([...jacobian((x: Tensor) => x.mul(2), { mode: "reverse" })(vg.zeros([0, 2])).shape], [0, 2, 0, 2]);
});

test("hessian() is the matrix of second derivatives, symmetric, and hvp() its product", async () => {
  const g = (x: Tensor): Tensor => f(x, tensor(b)).square().sum();
  // sum_i b_i^2 sin^2(u_i), u = A x: second derivatives sum_i 2 b_i^2 cos(2 u_i) A_ij A_ik
  const wanted = Array.from({ length: n * n }, (_, at) => {
    const [j, k] = [Math.floor(at / n), at % n];
    return inner.reduce((sum, u, i) => sum + 2 * b[i] ** 2 * Math.cos(2 * u) * A[i * n + j] * A[i * n + k], 0);
  });
  const H = hessian(g)(tensor(x));
  assert.equal([...H.shape], [n, n]);
  near(await H.data(), wanted, 1e-5, "hessian");
  const v = noise(n, 6);
  const product = Array.from({ length: n }, (_, j) => v.reduce((sum, e, k) => sum + wanted[j * n + k] * e, 0));
  near(await hvp(g, [tensor(x)], [tensor(v)])[0].data(), product, 1e-5, "hvp");
  near(await values(await compile((x: Tensor) => hessian(g)(x))(tensor(x))), wanted, 1e-5, "compiled");
  near(await values(vmap(hessian(g))(tensor([...x, ...x], { shape: [2, n] }))), [...wanted, ...wanted], 1e-5, "vmap");
});

test("hessian() of trees, of several arguments and of a loop", async () => {
  const g = (p: { a: Tensor; b: Tensor }, c: Tensor): Tensor => p.a.mul(p.b).mul(c).sum().add(p.a.pow(3).sum());
  const p = { a: tensor([1, 2]), b: tensor([3, 4]) };
  const c = tensor([5, 6]);
  const H = hessian(g)(p, c);
  assert.equal(await H.a.a.array(), [[6, 0], [0, 12]]);
  assert.equal(await H.a.b.array(), [[5, 0], [0, 6]]);
  assert.equal(await H.b.a.array(), [[5, 0], [0, 6]]);
  assert.equal(await H.b.b.array(), [[0, 0], [0, 0]]);
  const both = hessian(g, { argnums: [0, 1] })(p, c) as any;
  assert.equal(await both[0].a[1].array(), [[3, 0], [0, 4]]);
  assert.equal(await both[1][0].b.array(), [[1, 0], [0, 2]]);
  // The product of x_i^2 by a loop: 2 and 4 x_i x_j of the others.
  const loop = (x: Tensor): Tensor =>
    scan((p: Tensor, v: Tensor) => [p.mul(v.square()), null] as any, tensor(1), x)[0] as Tensor;
  near(await values(hessian(loop)(tensor([2, 3]))), [18, 24, 24, 8], 1e-5, "loop");
});

test("linearize() gives the value and the derivative for any tangent, also after the value was evaluated", async () => {
  const [y, push] = linearize(f, [tensor(x), tensor(b)]);
  near(await y.data(), inner.map((u, i) => Math.sin(u) * b[i]), 1e-6, "value");
  for (const seed of [7, 8]) {
    const [dx, db] = [noise(n, seed), noise(m, seed + 10)];
    const wanted = inner.map((u, i) => dx.reduce((sum, v, j) => sum + byX[i * n + j] * v, 0) + db[i] * Math.sin(u));
    near(await push(tensor(dx), tensor(db)).data(), wanted, 1e-5, "push");
  }
  const [, alone] = linearize(f, [tensor(x), tensor(b)], { argnums: 1 });
  near(await alone(tensor(b)).data(), inner.map((u, i) => Math.sin(u) * b[i]), 1e-6, "argnums");
  const J = vmap(push, { inAxes: [0, null], outAxes: 1 })(vg.eye(n), vg.zeros([m]));
  near(await J.data(), byX, 1e-6, "vmap");
});

test("vjp(), jvp() and hvp() by some arguments leave the others as they are", async () => {
  const g = (scale: number, x: Tensor, k: Tensor, b: Tensor): Tensor => f(x, b).mul(scale).mul(k.cast("f32"));
  const all = [2, tensor(x), tensor(3, { dtype: "i32" }), tensor(b)] as [number, Tensor, Tensor, Tensor];
  const ct = noise(m, 9);
  const [, pullback] = vjp(g, all, { argnums: [3, 1] });
  const [gb, gx] = pullback(tensor(ct));
  near(await gb.data(), inner.map((u, i) => 6 * Math.sin(u) * ct[i]), 1e-5, "b");
  near(await gx.data(), Array.from(x, (_, j) => 6 * ct.reduce((s, c, i) => s + c * byX[i * n + j], 0)), 1e-5, "x");
  const [only] = vjp(g, all, { argnums: 3 })[1](tensor(ct));
  near(await only.data(), await gb.data(), 0, "one");
  const db = noise(m, 10);
  near(
    await jvp(g, all, [tensor(db)], { argnums: 3 })[1].data(),
    inner.map((u, i) => 6 * Math.sin(u) * db[i]),
    1e-5,
    "jvp",
  );
  const square = (k: Tensor, x: Tensor): Tensor => x.pow(3).mul(k.cast("f32")).sum();
  const [hv] = hvp(square, [tensor(2, { dtype: "i32" }), tensor([1, 2])], [tensor([1, 1])], { argnums: 1 });
  assert.equal(await hv.array(), [12, 24]);
});

test("customJvp() is the rule in forward mode and its transpose in reverse mode, to any order", async () => {
  // f(x, k) = k x^3 with the rule 10 k x^2 dx: derivatives are those of the rule.
  const calls: string[] = [];
  const cube = customJvp(
    ({ x }: { x: Tensor }, k: number, count: Tensor) => ({ y: x.pow(3).mul(k), count: count.add(1) }),
    ([{ x }, k, count], [{ x: dx }, dk, dcount]) => {
      calls.push(`${dk} ${dcount}`);
      return [{ y: x.pow(3).mul(k), count: count.add(1) }, { y: x.square().mul(10 * k).mul(dx), count: count as any }];
    },
  );
  const count = tensor(1, { dtype: "i32" });
  const g = (x: Tensor): Tensor => cube({ x }, 2, count).y.sum();
  const [x, v] = [tensor([1, 2]), tensor([1, -1])];
  assert.equal(await g(x).item(), 18);
  assert.equal(calls, []);
  assert.equal(await jvp(g, [x], [v])[1].item(), 20 * (1 - 4));
  assert.ok(calls.every((call) => call === "null null"), `${calls}`);
  assert.equal(await grad(g)(x).array(), [20, 80]);
  assert.equal(await hvp(g, [x], [v])[0].array(), [40, -80]);
  assert.equal(await grad((x: Tensor) => grad(g)(x).mul(v).sum())(x).array(), [40, -80]);
  assert.equal(await vmap(grad(g))(tensor([[1, 2], [3, 4]])).array(), [[20, 80], [180, 320]]);
  assert.equal(await grad((x: Tensor) => vmap(g)(x).sum())(tensor([[1, 2], [3, 4]])).array(), [[20, 80], [180, 320]]);
  const looped = (x: Tensor): Tensor =>
    scan((c: Tensor) => [cube({ x: c }, 1, count).y, null] as any, x, null, { length: 2 })[0] as Tensor;
  // 10 (x^3)^2 * 10 x^2
  assert.is(await grad(looped)(tensor(2)).item(), 100 * 64 * 4);
  assert.is(await jvp(looped, [tensor(2)], [tensor(1)])[1].item(), 100 * 64 * 4);
  assert.is(await grad((x: Tensor) => vg.checkpoint(looped)(x))(tensor(2)).item(), 100 * 64 * 4);
});

test("customJvp() with two moving arguments has tangents of zero for what does not move", async () => {
  const product = customJvp(
    (a: Tensor, b: Tensor) => a.mul(b),
    ([a, b], [da, db]) => [a.mul(b), a.mul(db).add(b.mul(da))],
  );
  const [a, b] = [tensor([1, 2]), tensor([3, 4])];
  assert.equal(await jvp((a: Tensor) => product(a, b), [a], [tensor([1, 1])])[1].array(), [3, 4]);
  assert.equal(await values(grad((a: Tensor, b: Tensor) => product(a, b).sum(), { argnums: [0, 1] })(a, b)), [
    3,
    4,
    1,
    2,
  ]);
  assert.equal(await grad((a: Tensor) => product(a, a).sum())(a).array(), [2, 4]);
});

test("vmap() takes axes by leaf, for arguments and results", async () => {
  const layer = (p: { w: Tensor; b: Tensor; parts: [Tensor, Tensor] }, x: Tensor) => ({
    y: x.matmul(p.w).add(p.b),
    shared: p.b.mul(2),
    parts: [p.parts[0].add(p.parts[1])] as const,
  });
  const p = {
    w: filled([2, 3, 5], 11),
    b: filled([3], 12),
    parts: [filled([4, 5], 13), filled([4], 14)] as [Tensor, Tensor],
  };
  const x = filled([1, 2], 15);
  const got = vmap(layer, {
    inAxes: [{ w: 2, b: null, parts: [-1, null] }, null],
    outAxes: { y: 1, shared: null, parts: [-1] },
  })(p, x);
  assert.equal([...got.y.shape], [1, 5, 3]);
  assert.equal([...got.shared.shape], [3]);
  assert.equal([...got.parts[0].shape], [4, 5]);
  const at = (t: Tensor, axis: number, k: number): Tensor =>
    t.slice({
      start: t.shape.map((_, j) => (j === axis ? k : 0)),
      end: t.shape.map((s, j) => (j === axis ? k + 1 : s)),
    })
      .squeeze({ axes: [axis] });
  for (let k = 0; k < 5; k++) {
    const one = layer({ w: at(p.w, 2, k), b: p.b, parts: [at(p.parts[0], 1, k), p.parts[1]] }, x);
    near(await at(got.y, 1, k).data(), await one.y.data(), 1e-6, `y ${k}`);
    near(await at(got.parts[0], 1, k).data(), await one.parts[0].data(), 0, `parts ${k}`);
  }
  // An axis above a branch is that of all below it.
  const all = vmap(layer, { inAxes: [{ w: 2, b: null, parts: null }, null], outAxes: 0 })(
    { ...p, parts: [p.parts[1], p.parts[1]] },
    x,
  );
  assert.equal([...all.parts[0].shape], [5, 4]);
});

test.after(vg.closeDevice);
test.run();
