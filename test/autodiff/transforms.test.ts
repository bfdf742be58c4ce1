// deno-lint-ignore-file no-explicit-any
/** checkpoint, customVjp and vmap beyond single operators: closures, nesting, trees, memory, each other. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

const { checkpoint, compile, conv3d, customVjp, grad, hvp, jvp, tensor, vmap } = vg;
const filled = (shape: number[], seed: number): Tensor =>
  tensor(noise(shape.reduce((a, b) => a * b, 1), seed), { shape });
const same = async (a: Tensor, b: Tensor, tolerance: number): Promise<void> => {
  assert.equal([...a.shape], [...b.shape]);
  const error = relativeError(await a.data(), await b.data());
  assert.ok(error <= tolerance, `relative error ${error} above ${tolerance}`);
};
// Sums of several contributions to one gradient are associated otherwise where a region takes part of them.
const REASSOCIATED = 1e-6;

const x = filled([1, 2, 4, 5, 3], 1);
const w = filled([2, 2, 3, 3, 3], 2).mul(0.3);
const v = filled([2, 2, 3, 3, 3], 3);
const layer = (p: Tensor, h: Tensor): Tensor => conv3d(h, p, { padding: 1 }).tanh();
type Wrap = <A extends unknown[], R>(f: (...args: A) => R) => (...args: A) => R;
const plain: Wrap = (f) => f;

/** Regions within a region, a weight given and one captured, a result used twice. */
const nested = (wrap: Wrap) => (p: Tensor) => {
  const inner = wrap((q: Tensor, h: Tensor) => layer(q, h).add(h));
  const outer = wrap((h: Tensor) => inner(p, inner(p.mul(0.5), h)).mul(h));
  const y = outer(outer(x));
  return y.mul(y).add(y).mean();
};

test("checkpoint() within checkpoint() keeps gradients, hvp both ways and jvp", async () => {
  const [f, g] = [nested(plain), nested(checkpoint)];
  await same(grad(g)(w), grad(f)(w), REASSOCIATED);
  await same(hvp(g, [w], [v])[0], hvp(f, [w], [v])[0], REASSOCIATED);
  const twice = (h: (p: Tensor) => Tensor) => grad((p: Tensor) => grad(h)(p).mul(v).sum())(w);
  await same(twice(g), twice(f), REASSOCIATED);
  await same(jvp(g, [w], [v])[1], jvp(f, [w], [v])[1], REASSOCIATED);
});

test("checkpoint() takes trees, other arguments and several results, some of them unused", async () => {
  const parts = (wrap: Wrap) =>
    wrap((p: { a: Tensor; b: Tensor[] }, h: Tensor, labels: Tensor, scale: number) => ({
      one: p.a.mul(h).mul(scale),
      two: [p.b[0].mul(p.a), vg.where(labels.equal(1), h, 0)],
      three: labels.add(1),
    }));
  const given = { a: filled([3, 4], 4), b: [filled([3, 4], 5)] };
  const labels = tensor(new Int32Array([0, 1, 1, 0]));
  const loss = (wrap: Wrap) => (p: typeof given, h: Tensor) => {
    const { one, two } = parts(wrap)(p, h, labels, 3);
    return one.sin().sum().add(two[1].square().sum());
  };
  const h = filled([3, 4], 6);
  for (const argument of [0, 1]) {
    const both = [plain, checkpoint as Wrap].map((wrap) =>
      argument === 0 ? grad(loss(wrap))(given, h) : grad((t: Tensor) => loss(wrap)(given, t))(h)
    );
    const [ours, theirs] = both.map((g) => vg.tree.leaves(g) as Tensor[]);
    for (const [k, t] of ours.entries()) await same(theirs[k], t, 0);
  }
});

test("checkpoint() of a deep network keeps the bits and at most 60% of the temporaries", async () => {
  const params = Array.from({ length: 24 }, (_, k) => filled([2, 2, 3, 3, 3], 10 + k).mul(0.3));
  const input = filled([1, 2, 12, 12, 12], 30);
  const program = (wrap: Wrap) => {
    const block = wrap((ps: Tensor[], h: Tensor) => ps.reduce((t, p) => layer(p, t), h));
    return compile((ps: Tensor[]) =>
      grad((qs: Tensor[]) =>
        [0, 4, 8, 12, 16, 20].reduce((h, k) => block(qs.slice(k, k + 4), h), input).square().mean()
      )(ps)
    );
  };
  const [kept, again] = [program(plain), program(checkpoint)];
  const [a, b] = [await kept.plan(params), await again.plan(params)];
  assert.ok(b.arenaBytes <= 0.6 * a.arenaBytes, `${b.arenaBytes} of ${a.arenaBytes} bytes`);
  const [ours, theirs] = [await again(params), await kept(params)] as [Tensor[], Tensor[]];
  for (const [k, t] of ours.entries()) await same(t, theirs[k], 0);
});

test("checkpoint() that begins with norms of its arguments keeps no more", async () => {
  const params = Array.from({ length: 12 }, (_, k) => filled([2, 2, 3, 3, 3], 40 + k).mul(0.3));
  const input = filled([1, 2, 12, 12, 12], 31);
  const normed = (p: Tensor, h: Tensor): Tensor =>
    conv3d(vg.groupNorm(h, { groups: 1 }).tanh(), vg.weightStandardize(p), { padding: 1 });
  const program = (wrap: Wrap) => {
    const block = wrap((ps: Tensor[], h: Tensor) => ps.reduce((t, p) => normed(p, t), h));
    return compile((ps: Tensor[]) =>
      grad((qs: Tensor[]) => [0, 3, 6, 9].reduce((h, k) => block(qs.slice(k, k + 3), h), input).square().mean())(ps)
    );
  };
  const [kept, again] = [program(plain), program(checkpoint)];
  const [a, b] = [await kept.plan(params), await again.plan(params)];
  assert.ok(b.arenaBytes <= 0.6 * a.arenaBytes, `${b.arenaBytes} of ${a.arenaBytes} bytes`);
  const [ours, theirs] = [await again(params), await kept(params)] as [Tensor[], Tensor[]];
  for (const [k, t] of ours.entries()) await same(t, theirs[k], 0);
});

test("customVjp() replaces the derivative for every argument and is differentiable itself", async () => {
  const reversed = customVjp((t: Tensor) => t, (t: Tensor) => [t, null], (_, g: Tensor) => [g.neg()]);
  const t = tensor([1, 2, 3]);
  assert.equal(await grad((y: Tensor) => reversed(y).square().sum())(t).array(), [-2, -4, -6]);
  // A cube whose rule says 3 x^2 g: the second derivative goes through the rule.
  const cube = customVjp(
    (p: { x: Tensor }, scale: number) => p.x.mul(p.x).mul(p.x).mul(scale),
    (p: { x: Tensor }, scale: number) => [p.x.mul(p.x).mul(p.x).mul(scale), [p.x, scale]],
    ([y, scale], g: Tensor) => [{ x: y.square().mul(3 * scale).mul(g) }, null],
  );
  const f = (p: { x: Tensor }): Tensor => cube(p, 2).sum();
  assert.equal(await grad(f)({ x: t }).x.array(), [6, 24, 54]);
  assert.equal(await grad((p: { x: Tensor }) => grad(f)(p).x.sum())({ x: t }).x.array(), [12, 24, 36]);
  assert.equal(await hvp(f, [{ x: t }], [{ x: tensor([1, 0, 2]) }])[0].x.array(), [12, 0, 72]);
  assert.equal(await jvp(f, [{ x: t }], [{ x: tensor([1, 1, 1]) }])[1].item(), 84);
});

test("customVjp() serves where the function has no derivative, under vmap too", async () => {
  const step = (t: Tensor): Tensor => t.greater(0).cast("f32");
  const straightThrough = customVjp(step, (t: Tensor) => [step(t), t], (t: Tensor, g: Tensor) => [g.mul(t)]);
  const batch = tensor([[1, -2, 3], [4, 5, -6]]);
  const each = vmap(grad((t: Tensor) => straightThrough(t).mul(3).sum()))(batch);
  assert.equal(await each.array(), [[3, -6, 9], [12, 15, -18]]);
  // A rule that sums over what it gets must see one example.
  const unit = customVjp(
    (t: Tensor) => t,
    (t: Tensor) => [t, null],
    (_, g: Tensor) => [g.div(g.square().sum().sqrt())],
  );
  const normed = grad((t: Tensor) => vmap(unit)(t).mul(tensor([[3, 0, 4], [0, 0, 2]])).sum())(batch);
  await same(normed, tensor([[0.6, 0, 0.8], [0, 0, 1]]), 1e-6);
  const joined = grad((t: Tensor) => vmap(straightThrough)(t).sum())(batch);
  assert.equal(await joined.array(), [[1, -2, 3], [4, 5, -6]]);
});

test("customVjp() throws on rules that give the wrong tree", () => {
  const bad = (backward: (residuals: any, g: any) => any) => () =>
    grad((t: Tensor) => customVjp((u: Tensor) => u, (u: Tensor) => [u, null], backward)(t).sum())(tensor([1, 2]));
  assert.throws(bad(() => []), /customVjp: backward gives an array with one entry for each of the 1 arguments/);
  assert.throws(
    bad(() => [tensor([1])]),
    /customVjp: backward's cotangents of argument 0: the shape is that of .*\[2\]\), got .*\[1\]/,
  );
  const one = customVjp((u: Tensor) => u, ((u: Tensor) => u) as never, (_, g: Tensor) => [g]);
  assert.throws(() => grad((t: Tensor) => one(t).sum())(tensor([1])), /customVjp: forward gives \[output, residuals\]/);
});

test("vmap() maps axes in and out, shared arguments, trees and results without a batch", async () => {
  const [a, b] = [filled([4, 3, 5], 7), filled([5, 2], 8)];
  const f = (m: Tensor, n: Tensor) => ({ product: vg.matmul(m, n), constant: n.sum(), index: m.argmax({ axis: 1 }) });
  const got = vmap(f, { inAxes: [1, null], outAxes: -1 })(a, b);
  const rows = [0, 1, 2].map((k) => f(a.slice({ start: [0, k], end: [4, k + 1] }).squeeze({ axes: [1] }), b));
  for (const name of ["product", "constant", "index"] as const) {
    await same(got[name], vg.stack(rows.map((r) => r[name]), { axis: -1 }), 0);
  }
});

test("vmap() nests, compiles, and goes around checkpoint() and hvp()", async () => {
  const outer = filled([2, 3, 2, 2, 3, 3, 3], 9);
  const f = (p: Tensor) => checkpoint(layer)(p, x).square().mean();
  const curvature = (p: Tensor): Tensor => hvp(f, [p], [v])[0];
  const compiled = compile((all: Tensor) => vmap(vmap(curvature))(all));
  const got = await compiled(outer);
  const loop = vg.stack(
    [0, 1].map((i) =>
      vg.stack(
        [0, 1, 2].map((j) => curvature(outer.slice({ start: [i, j], end: [i + 1, j + 1] }).squeeze({ axes: [0, 1] }))),
      )
    ),
  );
  await same(got, loop, 1e-5);
});

test("vmap() over random keys gives the numbers of each key", async () => {
  const keys = vg.stack(vg.random.split(vg.random.key(3), 3));
  const draw = (key: Tensor): Tensor => vg.random.normal(vg.random.split(key)[1], { shape: [2, 3] });
  const each = [0, 1, 2].map((k) => draw(keys.slice({ start: [k], end: [k + 1] }).squeeze({ axes: [0] })));
  await same(vmap(draw)(keys), vg.stack(each), 0);
});

test("vjp() pullbacks work after their output was read", async () => {
  const [y, pullback] = vg.vjp((t: Tensor) => t.mul(t), [tensor([1, 2, 3])]);
  assert.equal(await y.array(), [1, 4, 9]);
  assert.equal(await pullback(vg.ones([3]))[0].array(), [2, 4, 6]);
});

test("stopGradient() has no gradient in both modes", async () => {
  const f = (t: Tensor): Tensor =>
    vg.stopGradient(vg.distanceTransform(t.reshape({ shape: [1, 3] }))).reshape({ shape: [3] }).mul(t).sum();
  const t = tensor([1, 0, 2]);
  assert.equal(await grad(f)(t).array(), [1, 0, 1]);
  assert.is(await jvp(f, [t], [vg.ones([3])])[1].item(), 2);
});

test.after(vg.closeDevice);
test.run();
