// deno-lint-ignore-file no-explicit-any
/** What a loop costs: kernels, dispatches and memory by the number of its steps; limits; submissions. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { near } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { failure, refuses } from "../helpers/refuse.ts";

const { compile, cond, foriLoop, grad, scan, tensor, valueAndGrad } = vg;
const filled = (shape: number[], seed: number): Tensor =>
  tensor(noise(shape.reduce((a, b) => a * b, 1), seed), { shape });

/** A recurrent network whose state has 3 x 5 elements; its last state is the result. */
const [w, h] = [filled([5, 5], 1), filled([3, 5], 2)];
const network = (options?: object) => (w: Tensor, h: Tensor, xs: Tensor): Tensor =>
  scan((c: Tensor, x: Tensor) => [c.matmul(w).add(x).tanh(), null] as [Tensor, null], h, xs, options)[0];
const loss = (options?: object) => (w: Tensor, h: Tensor, xs: Tensor) => network(options)(w, h, xs).square().sum();
const planOf = (f: any, n: number) => compile(f).plan(w, h, filled([n, 3, 5], 3));

test("compile() of scan() has the same kernels for 10 steps as for 1,000, and dispatches in proportion", async () => {
  for (const f of [network(), valueAndGrad(loss()) as any, grad(loss({ checkpoint: 5 }))]) {
    const [few, more, many] = [await planOf(f, 100), await planOf(f, 200), await planOf(f, 1000)];
    assert.equal(many.kernels, few.kernels);
    assert.is(many.pipelines, few.pipelines);
    // Those outside of the loop remain.
    const each = (more.dispatches - few.dispatches) / 100;
    assert.is(many.dispatches, few.dispatches + 900 * each);
  }
});

test("valueAndGrad() of scan() runs the forward loop once", async () => {
  const products = async (f: any): Promise<number> =>
    (await planOf(f, 20)).kernels.filter((name) => name.includes("matmul")).length;
  assert.is(await products(loss()), 1);
  // Backward: the step again, and the cotangents of both factors.
  assert.is(await products(valueAndGrad(loss())), 4);
});

test("jvp() and hvp() of scan() compute values and tangents in one loop", async () => {
  const xs = filled([20, 3, 5], 3);
  const products = async (f: any, ...args: Tensor[]): Promise<number> =>
    (await compile(f).plan(...args)).kernels.filter((name) => name.includes("matmul")).length;
  // The state times the weights, and its tangent; with that of the weights one more.
  assert.is(await products((h: Tensor, v: Tensor) => vg.jvp((h: Tensor) => loss()(w, h, xs), [h], [v]), h, h), 2);
  assert.is(await products((w: Tensor, v: Tensor) => vg.jvp((w: Tensor) => loss()(w, h, xs), [w], [v]), w, w), 3);
  // What follows a loop uses its values too, a second loop among them.
  const twice = (h: Tensor): Tensor => network()(w, network()(w, h.square(), xs).sin(), xs);
  assert.is(await products((h: Tensor, v: Tensor) => vg.jvp(twice, [h], [v]), h, h), 4);
  // Forward 2, backward: the step again with its tangent 2, the cotangent of the state and its tangent 2.
  assert.is(await products((h: Tensor, v: Tensor) => vg.hvp((h: Tensor) => loss()(w, h, xs), [h], [v]), h, h), 6);
});

test("scan() keeps one state and a spare, its gradient one state for each step", async () => {
  const state = 4 * 15;
  const bytes = async (f: any, n: number): Promise<number> => (await planOf(f, n)).arenaBytes;
  assert.is(await bytes(network(), 1000), await bytes(network(), 10));
  const [few, many] = [await bytes(grad(loss()), 100), await bytes(grad(loss()), 1000)];
  assert.is(many - few, 900 * state);
});

test("scan() with checkpoint keeps states in number as the square root of the steps", async () => {
  const bytesOf = async (n: number, checkpoint: boolean): Promise<number> =>
    (await compile(grad(loss({ checkpoint }))).plan(w, h, filled([n, 1, 5], 3))).arenaBytes;
  // The first states of segments, those of one segment, and its slices.
  const [state, slice] = [4 * 15, 4 * 5];
  const rest = (await bytesOf(16, true)) - 4 * (2 * state + slice);
  for (const n of [64, 256, 1024, 4096]) assert.is((await bytesOf(n, true)) - rest, Math.sqrt(n) * (2 * state + slice));
  // A step costs no more dispatches where there are more steps, and its kernels are the same.
  const planned = (n: number) => compile(grad(loss({ checkpoint: true }))).plan(w, h, filled([n, 1, 5], 3));
  const [short, long] = [await planned(64), await planned(4096)];
  assert.ok(long.dispatches / 4096 <= short.dispatches / 64, `${long.dispatches} and ${short.dispatches} dispatches`);
  assert.equal([long.kernels, long.pipelines], [short.kernels, short.pipelines]);
  // Of a prime number of steps some are left over, and the slices of the others are copied.
  const [few, all] = [await bytesOf(1009, true), await bytesOf(1009, false)];
  assert.ok(few - 1009 * slice < all / 8, `${few} of ${all} bytes`);
});

test("scan() of 1,000 steps and its gradient agree with a loop in float64, with and without checkpoint", async () => {
  const n = 1000;
  const [a, x0, us] = [0.98, 0.7, noise(n, 4)];
  const f = (a: Tensor, x: Tensor, us: Tensor, options: object) =>
    scan((x: Tensor, u: Tensor) => [x.mul(a).add(u).sin(), x] as any, x, us, options) as [Tensor, Tensor];
  const total = (options: object) => (a: Tensor, x: Tensor, us: Tensor): Tensor => {
    const [last, all] = f(a, x, us, options);
    return last.add(all.sum());
  };
  // Forward: values and d/da, d/dx0; the gradient by each u by reverse accumulation.
  const [xs, before] = [[x0], [] as number[]];
  for (const u of us) {
    before.push(xs.at(-1)! * a + u);
    xs.push(Math.sin(before.at(-1)!));
  }
  const value = xs.reduce((sum, x) => sum + x, 0);
  const du = new Array<number>(n);
  let [g, da] = [1, 0];
  for (let k = n - 1; k >= 0; k--) {
    const slope = g * Math.cos(before[k]);
    du[k] = slope;
    da += slope * xs[k];
    g = slope * a + 1;
  }
  for (const options of [{}, { checkpoint: true }, { checkpoint: 7 }]) {
    const step = compile((a: Tensor, x: Tensor, us: Tensor) =>
      valueAndGrad(total(options), { argnums: [0, 1, 2] })(a, x, us)
    );
    const [got, [ga, gx, gu]] = await step(tensor(a), tensor(x0), tensor(us)) as any;
    near([await got.item()], [value], 1e-5, "value");
    near([await ga.item()], [da], 1e-5, "by a");
    near([await gx.item()], [g], 1e-5, "by x");
    near(await gu.data(), du, 1e-5, "by u");
  }
});

test("scan() keeps equal results apart, and one that is kept twice once", async () => {
  const f = (x: Tensor) =>
    scan((c: Tensor) => [c.add(1), [c, c, c.mul(2), c.mul(2)]] as any, x, null, { length: 3 })[1] as Tensor[];
  const all = await compile(f)(tensor(1)) as Tensor[];
  assert.equal(await Promise.all(all.map((t) => t.array())), [[1, 2, 3], [1, 2, 3], [2, 4, 6], [2, 4, 6]]);
  const once = await compile((x: Tensor) => f(x).slice(0, 2)).plan(tensor(1));
  assert.is(once.kernels.filter((name) => name.includes("store")).length, 1);
  // Reverse mode keeps the state that is also a result.
  const total = (x: Tensor) => f(x)[0].square().sum();
  const step = compile((x: Tensor) => [total(x), grad(total)(x)] as Tensor[]);
  assert.equal(await Promise.all((await step(tensor(1))).map((t) => t.item())), [14, 12]);
});

test("compile() leaves out of a loop what no result needs", async () => {
  const both = (h: Tensor) =>
    scan(({ a, b }: any) => [{ a: a.sin(), b: b.matmul(w) }, { a, c: b.sum() }] as any, { a: h, b: h }, null, {
      length: 6,
    }) as any;
  const kernels = async (f: (h: Tensor) => unknown) => (await compile(f).plan(h)).kernels;
  assert.equal(await kernels((h) => both(h)[0].a), ["sin"]);
  assert.equal((await kernels((h) => both(h)[1].a)).filter((name) => /matmul|sum/.test(name)), []);
  assert.equal((await kernels((h) => both(h)[0].b)).filter((name) => /sin|store/.test(name)), []);
});

test("a loop computes what does not depend on its step once", async () => {
  const f = compile((w: Tensor, h: Tensor) => foriLoop(0, 50, (_, c: Tensor) => c.add(w.matmul(w).sum()), h));
  const plan = await f.plan(w, h);
  assert.is(plan.dispatches, plan.kernels.length - 1 + 50);
});

test("equal loops in one program run once", async () => {
  const f = compile((h: Tensor) => [
    network()(w, h, h.reshape({ shape: [1, 3, 5] })),
    network()(
      w,
      h,
      h.reshape({
        shape: [1, 3, 5],
      }),
    ),
  ]);
  assert.is((await f.plan(h)).kernels.filter((name) => name.includes("matmul")).length, 1);
});

test("a loop with bindings of 1 KiB stores and reads slices in parts", async () => {
  await vg.closeDevice();
  await vg.openDevice({ maxBindingBytes: 1024 });
  // Slices of 300 elements: each lies in one or two parts of 256; a slice of 600 in parts of its own.
  for (const size of [300, 600]) {
    const data = noise(3 * size, 5);
    const [last, all] = scan(
      (c: Tensor, x: Tensor) => {
        const next = c.add(x);
        return [next, next] as [Tensor, Tensor];
      },
      vg.zeros([size]),
      tensor(data, { shape: [3, size] }),
    );
    const sums = new Float64Array(size);
    const wanted = [0, 1, 2].flatMap((k) => Array.from(sums, (_, j) => (sums[j] += data[k * size + j])));
    near(await all.data(), wanted, 1e-6, "sums");
    near(await last.data(), [...sums], 1e-6, "last");
  }
  await vg.closeDevice();
});

test("countProducts() counts each step of a loop, with the arguments that a product depends on", () => {
  const args = [vg.zeros([5, 5]), vg.zeros([3, 5]), vg.zeros([7, 3, 5])] as const;
  const one = { operator: "matmul", multiplyAdds: 7 * 3 * 5 * 5, from: ["0"] };
  assert.equal(vg.countProducts(network(), ...args), [one]);
  // Backward: the step again, the cotangent of the state, that of the weights.
  const back = vg.countProducts(grad(loss()) as any, ...args);
  assert.equal(back.map(({ multiplyAdds }) => multiplyAdds), new Array(4).fill(one.multiplyAdds));
  const nested = (w: Tensor, h: Tensor) =>
    foriLoop(0, 4, (_, c: Tensor) => foriLoop(0, 6, (_, c: Tensor) => c.matmul(w), c), h);
  assert.equal(vg.countProducts(nested, args[0], args[1]), [{ ...one, multiplyAdds: 24 * 3 * 5 * 5 }]);
});

test("detectAnomaly() names the operator within a step, and passes over a branch that is not taken", async () => {
  const f = (x: Tensor) => foriLoop(0, 5, (_, c: Tensor) => c.sub(1).log(), x);
  const error = await failure(vg.detectAnomaly(() => f(tensor(20)).data()));
  assert.match(
    error.message,
    /^log, the output Tensor\(f32\[\]\) of .*, called at .*loops\.test\.ts:\d+:\d+: 1 of 1 values are NaN$/,
  );
  const safe = (x: Tensor) => cond(x.greater(0), (x: Tensor) => x.log(), (x: Tensor) => x, x);
  await vg.detectAnomaly(async () => {
    assert.is(await safe(tensor(-1)).item(), -1);
    assert.is(await grad(safe)(tensor(-1)).item(), 1);
    assert.is(
      await scan((c: Tensor, x: Tensor) => [c.add(x), c] as [Tensor, Tensor], tensor(0), tensor([1, 2]), {
        reverse: true,
      })[1].sum().item(),
      2,
    );
  });
  await refuses(vg.detectAnomaly(() => safe(tensor(NaN)).data()), /^an input tensor/);
});

test("profile() counts every dispatch of a loop", async () => {
  const f = compile((h: Tensor) => foriLoop(0, 300, (_, c: Tensor) => c.mul(0.5).add(1), h));
  const { dispatches } = await f.plan(h);
  assert.is(dispatches, 300);
  const measured = await vg.profile(() => f(h) as any);
  assert.is(measured.dispatches.length, 300);
  near(await (measured.result as Tensor).data(), new Array(15).fill(2), 1e-6, "limit");
});

test.after(vg.closeDevice);
test.run();
