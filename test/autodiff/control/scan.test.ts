// deno-lint-ignore-file no-explicit-any
/** scan and foriLoop: values, derivatives and batches against loops that are unrolled, and closed forms in float64. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import type { Tensor } from "../../../engine/mod.ts";
import { near } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

const { checkpoint, compile, customVjp, foriLoop, grad, hvp, jvp, scan, stack, tensor, tree, vmap, vjp } = vg;
const filled = (shape: number[], seed: number): Tensor =>
  tensor(noise(shape.reduce((a, b) => a * b, 1), seed), { shape });

/** The same loop without scan: one copy of the step for each slice. */
function unrolled(f: any, init: any, xs: any, { length, reverse = false }: any = {}): any {
  const n = length ?? (tree.leaves(xs)[0] as Tensor).shape[0];
  const ys: any[] = new Array(n);
  let carry = init;
  for (let k = 0; k < n; k++) {
    const at = reverse ? n - 1 - k : k;
    const x = tree.map(xs, (t: any) => t.slice({ start: [at], end: [at + 1] }).squeeze({ axes: [0] }));
    const [next, y] = f(carry, x);
    // The carry keeps the order of its names.
    const named = tree.flatten({ c: next });
    carry = tree.map({ c: carry } as any, (_: any, path) => named.get(path)!).c;
    ys[at] = y;
  }
  const flat = ys.map((y) => tree.leaves(y));
  return [carry, tree.rebuild(ys[0], flat[0].map((_, k) => stack(flat.map((list) => list[k] as Tensor), { axis: 0 })))];
}

const values = async (out: unknown): Promise<number[]> => {
  const leaves = tree.leaves(await vg.evaluate(out)).filter((t) => t instanceof vg.Tensor) as Tensor[];
  return (await Promise.all(leaves.map((t) => t.data()))).flatMap((a) => [...a]);
};
const shapes = (out: unknown): string => (tree.leaves(out) as Tensor[]).map((t) => `${t}`).join(" ");

/** A cell with a state of two parts, one of them an integer, weights that it captures, and results of two kinds. */
type State = { h: Tensor; n: Tensor; parts: [Tensor] };
const weights = { recurrent: filled([3, 3], 1).mul(0.5), input: filled([2, 3], 2), bias: filled([3], 3) };
const cell = (w: typeof weights) => ({ h, n, parts }: State, { x, gain }: { x: Tensor; gain: Tensor }) => {
  const next = h.matmul(w.recurrent).add(x.matmul(w.input)).add(w.bias.mul(w.bias)).add(parts[0]).tanh().mul(gain);
  const count = n.add(1);
  return [
    { parts: [parts[0].mul(0.5).add(next.mean({ axes: [1], keepDims: true }))], n: count, h: next },
    { out: next.square().mul(count.cast("f32")), count, none: null },
  ] as any;
};
const start = (): State => ({ h: filled([4, 3], 4), n: tensor(0, { dtype: "i32" }), parts: [filled([4, 1], 5)] });
const inputs = (n: number) => ({ x: filled([n, 4, 2], 6), gain: filled([n, 1, 3], 7).add(1.5) });
type Loop = (f: any, init: any, xs: any, options?: any) => any;
const run = (loop: Loop, options: object = {}) => (w: typeof weights, init: State, xs: any): any =>
  loop(cell(w), init, xs, options);

/** A number that every differentiable part of the results enters. */
const loss = (loop: Loop, options?: object) => (w: any, h: Tensor, part: Tensor, x: Tensor, gain: Tensor): Tensor => {
  const [last, ys] = run(loop, options)(w, { h, n: tensor(0, { dtype: "i32" }), parts: [part] }, { x, gain });
  return last.h.square().sum().add(last.parts[0].sin().sum()).add(ys.out.mul(ys.out).mean());
};
const point = (n: number): [any, Tensor, Tensor, Tensor, Tensor] => {
  const { h, parts } = start();
  const { x, gain } = inputs(n);
  return [weights, h, parts[0], x, gain];
};
const direction = (n: number): any =>
  tree.map(point(n) as any, (t: Tensor, path) => filled([...t.shape], path.length + 20));

for (const [n, options] of [[1, {}], [2, {}], [5, {}], [5, { reverse: true }]] as const) {
  test(`scan() of ${n} steps ${JSON.stringify(options)} gives the values and shapes of the unrolled loop`, async () => {
    const [got, wanted] = [scan, unrolled].map((loop) => run(loop as Loop, options)(weights, start(), inputs(n)));
    assert.is(shapes(got), shapes(wanted));
    assert.is(got[1].none, null);
    near(await values(got), await values(wanted), 1e-6, "values");
  });
}

const settings: [number, object][] = [
  [1, {}],
  [5, {}],
  [5, { reverse: true }],
  [7, { checkpoint: true }],
  [7, { checkpoint: 3, reverse: true }],
];
for (const [n, options] of settings) {
  test(`scan() of ${n} steps ${JSON.stringify(options)} has the derivatives of the unrolled loop`, async () => {
    const [ours, theirs] = [loss(scan, options), loss(unrolled as Loop, { reverse: (options as any).reverse })];
    const all = { argnums: [0, 1, 2, 3, 4] } as const;
    near(await values(grad(ours, all)(...point(n))), await values(grad(theirs, all)(...point(n))), 1e-5, "grad");
    near(
      await values(jvp(ours, point(n), direction(n))),
      await values(jvp(theirs, point(n), direction(n))),
      1e-5,
      "jvp",
    );
    near(
      await values(hvp(ours, point(n), direction(n))),
      await values(hvp(theirs, point(n), direction(n))),
      1e-4,
      "hvp",
    );
  });
}

test("scan() has second derivatives in reverse over reverse and reverse over forward mode", async () => {
  const n = 3;
  const twice = (f: any) =>
    grad((...args: any[]) =>
      tree.leaves(grad(f, { argnums: [0, 3] } as any)(...args))
        .reduce((sum: any, t: any) => sum.add(t.square().sum()), tensor(0)), { argnums: [0, 1, 3] } as any);
  const mixed = (f: any) =>
    grad((...args: any[]) => jvp(f, args, direction(n))[1] as Tensor, { argnums: [0, 1, 3] } as any);
  for (const [what, of] of Object.entries({ twice, mixed })) {
    const [ours, theirs] = [loss(scan), loss(unrolled as Loop)].map((f) => (of as any)(f)(...point(n)));
    near(await values(ours), await values(theirs), 1e-4, what);
  }
});

test("scan() of a product has derivatives of order one to four of the closed form", async () => {
  // The product of x_i^2; its derivatives along one coordinate are those of c x^2.
  const f = (x: Tensor) => scan((p: Tensor, v: Tensor) => [p.mul(v.square()), null], tensor(1), x)[0];
  const x = tensor([2, 3, 0.5]);
  const e = tensor([1, 0, 0]);
  let g: (x: Tensor) => Tensor = f;
  // p = 4 * 9 * 0.25 = 9 = 2.25 x^2
  for (const wanted of [9, 9, 4.5, 0, 0]) {
    near([await g(x).item()], [wanted], 1e-5, "derivative");
    const before = g;
    g = (x) => jvp(before, [x], [e])[1];
  }
  const third = grad((x: Tensor) => grad((x: Tensor) => grad(f)(x).mul(e).sum())(x).mul(e).sum())(x);
  // d/dx_k of d2/dx0^2 (x0 x1 x2)^2 = 2 (x1 x2)^2: 0, 4 x1 x2^2, 4 x1^2 x2
  near(await values(third), [0, 3, 18], 1e-5, "third derivatives");
});

test("vmap() of scan() maps carries, slices and captured weights, and grad() of it", async () => {
  const n = 4;
  const batch = {
    w: tree.map(weights as any, (t: Tensor) => filled([2, ...t.shape], 8)),
    h: filled([2, 4, 3], 9),
    x: filled([n, 2, 4, 2], 10),
  };
  const f = (loop: Loop) => (w: any, h: Tensor, x: Tensor) =>
    run(loop)(w, { ...start(), h }, { ...inputs(n), x }) as any;
  const g = (loop: Loop) =>
    grad((w: any, h: Tensor, x: Tensor) => {
      const [last, ys] = f(loop)(w, h, x);
      return last.h.sum().add(ys.out.square().sum());
    }, { argnums: [0, 1, 2] } as const);
  for (const inAxes of [[0, null, null], [null, 0, null], [null, null, 1], [0, 0, 1]] as const) {
    const args = [
      inAxes[0] === 0 ? batch.w : weights,
      inAxes[1] === 0 ? batch.h : start().h,
      inAxes[2] === 1 ? batch.x : inputs(n).x,
    ] as [any, Tensor, Tensor];
    for (const wrap of [f, g]) {
      const [ours, theirs] = [scan, unrolled].map((loop) => vmap(wrap(loop as Loop), { inAxes: [...inAxes] })(...args));
      assert.is(shapes(ours), shapes(theirs));
      near(await values(ours), await values(theirs), 1e-5, `${inAxes}`);
    }
    // vmap within grad: the batch is part of the loss.
    const total = (loop: Loop) =>
      grad((w: any, h: Tensor, x: Tensor) => {
        const [last, ys] = vmap(f(loop), { inAxes: [...inAxes] })(w, h, x);
        return last.h.square().sum().add(ys.out.square().sum());
      }, { argnums: [0, 1, 2] } as const)(...args);
    near(await values(total(scan)), await values(total(unrolled as Loop)), 1e-5, `grad of vmap ${inAxes}`);
  }
});

test("scan() within scan(): values, grad, hvp and vmap are those of the unrolled loops", async () => {
  const a = filled([3, 3], 11).mul(0.4);
  const nested = (loop: Loop) => (a: Tensor, v: Tensor, xs: Tensor): Tensor => {
    const outer = (c: Tensor, row: Tensor) => {
      // The inner loop uses the outer carry, its own slices and a weight.
      const [last, all] = loop(
        (d: Tensor, x: Tensor) => {
          const next = d.matmul(a).add(c.mul(x)).tanh();
          return [next, next.sum()];
        },
        c.mul(0.5),
        row,
      );
      return [last.add(c), all.square().sum()];
    };
    const [last, sums] = loop(outer, v, xs);
    return last.square().sum().add(sums.sum());
  };
  const [v, xs] = [filled([1, 3], 12), filled([2, 3], 13)];
  const directions = [filled([3, 3], 14), filled([1, 3], 15), filled([2, 3], 16)] as [Tensor, Tensor, Tensor];
  const all = { argnums: [0, 1, 2] } as const;
  const of: Record<string, (f: any) => unknown> = {
    value: (f) => f(a, v, xs),
    grad: (f) => grad(f, all)(a, v, xs),
    hvp: (f) => hvp(f, [a, v, xs], directions as any),
    vmap: (f) => vmap(grad(f, all) as any, { inAxes: [null, 0, 0] })(a, filled([3, 1, 3], 17), filled([3, 2, 3], 18)),
  };
  for (const [what, g] of Object.entries(of)) {
    near(await values(g(nested(scan as Loop))), await values(g(nested(unrolled as Loop))), 1e-5, what);
  }
});

test("scan() of no steps gives the first carry and empty results, with zero derivatives", async () => {
  const f = (x: Tensor, xs: Tensor) => scan((c: Tensor, x: Tensor) => [c.mul(x), { y: c.sum() }] as any, x, xs) as any;
  const [last, ys] = f(tensor([1, 2]), vg.zeros([0, 2]));
  assert.equal(await last.array(), [1, 2]);
  assert.equal([...ys.y.shape], [0]);
  assert.equal(await values(grad((x: Tensor) => f(x, vg.zeros([0, 2]))[0].sum())(tensor([1, 2]))), [1, 1]);
  const slopes = grad((xs: Tensor) => f(tensor([1, 2]), xs)[0].sum())(vg.zeros([0, 2]));
  assert.equal([...slopes.shape], [0, 2]);
  assert.is(await foriLoop(3, 3, () => tensor(5), tensor(1)).item(), 1);
  assert.is(await foriLoop(3, -1, () => tensor(5), tensor(1)).item(), 1);
});

test("scan() takes empty slices and carries, bool and u32 carries, and results of all dtypes", async () => {
  const [last, ys] = scan(
    (c: any, x: any) => {
      const flag = vg.logicalNot(c.flag);
      const next = { flag, count: c.count.add(1), empty: c.empty.mul(2) };
      return [next, { flag, count: c.count, x: x.cast("i32"), empty: c.empty }] as any;
    },
    { flag: tensor(false), count: tensor(2, { dtype: "u32" }), empty: vg.zeros([2, 0]) },
    tensor([1.5, -2.5, 3.5]),
  ) as any;
  assert.equal(await last.flag.array(), true);
  assert.equal([await last.count.item(), last.count.dtype], [5, "u32"]);
  assert.equal(await ys.flag.array(), [true, false, true]);
  assert.equal(await ys.count.array(), [2, 3, 4]);
  assert.equal(await ys.x.array(), [1, -2, 3]);
  assert.equal([...ys.empty.shape], [3, 2, 0]);
});

test("scan() passes carries through, swaps and repeats them", async () => {
  const step = ({ a, b, c }: any) => [{ a: b, b: a.add(b), c, d: b }, null] as any;
  const first = { a: tensor(0), b: tensor(1), c: tensor(7), d: tensor(-1) };
  for (const [n, wanted] of [[1, [1, 1, 7, 1]], [2, [1, 2, 7, 1]], [9, [34, 55, 7, 34]]] as const) {
    const [last] = scan(step, first, null, { length: n }) as any;
    assert.equal(await values(last), wanted);
  }
  const slope = grad((a: Tensor) => (scan(step, { ...first, a }, null, { length: 9 }) as any)[0].b)(tensor(0));
  assert.is(await slope.item(), 21 + 13 - 0 * 1);
});

test("foriLoop() gives i from start to end - 1, also in segments", async () => {
  const digits = (options: object) =>
    foriLoop(-2, 6, (i, c: Tensor) => c.mul(10).add(i), tensor(0, { dtype: "i32" }), options);
  const wanted = await digits({}).item();
  assert.is(wanted, [-2, -1, 0, 1, 2, 3, 4, 5].reduce((c, i) => 10 * c + i, 0));
  for (const checkpoint of [true, 3, 5]) assert.is(await digits({ checkpoint }).item(), wanted);
  const power = (x: Tensor) => foriLoop(0, 5, (_, p: Tensor) => p.mul(x), tensor(1));
  near([await grad(power)(tensor(1.5)).item()], [5 * 1.5 ** 4], 1e-6, "power");
});

test("scan() takes checkpoint() and customVjp() in its step", async () => {
  const double = customVjp((t: Tensor) => t.mul(2), (t: Tensor) => [t.mul(2), null], (_, g: Tensor) => [g.mul(3)]);
  const f = (loop: Loop) => (w: Tensor, xs: Tensor): Tensor => {
    const block = checkpoint((c: Tensor, x: Tensor) => double(c.mul(w)).add(x).sin());
    return loop((c: Tensor, x: Tensor) => [block(c, x), c], tensor([0.5, 0.25]), xs)[0].sum();
  };
  const [w, xs] = [filled([2], 19), filled([4, 2], 20)];
  const all = { argnums: [0, 1] } as const;
  near(
    await values(grad(f(scan as Loop), all)(w, xs)),
    await values(grad(f(unrolled as Loop), all)(w, xs)),
    1e-5,
    "grad",
  );
  const around = (loop: Loop) => grad((w: Tensor) => checkpoint((w: Tensor) => f(loop)(w, xs).square())(w))(w);
  near(await values(around(scan as Loop)), await values(around(unrolled as Loop)), 1e-5, "checkpoint around scan");
});

test("scan() within compile() agrees with evaluate(), with donated carries too", async () => {
  const step = (c: Tensor, x: Tensor) => [c.mul(0.5).add(x), c] as [Tensor, Tensor];
  const f = compile((c: Tensor, xs: Tensor) => scan(step, c, xs), { donate: [0] });
  const [c, xs] = [filled([7], 21), filled([6, 7], 22)];
  const wanted = await values(unrolled(step, c, xs));
  for (let k = 0; k < 2; k++) near(await values(await f(vg.tensor(await c.data()), xs)), wanted, 1e-6, "compiled");
});

test("random numbers within scan() are those of each key", async () => {
  const keys = vg.random.split(vg.random.key(3), 5);
  const draw = (_: null, key: Tensor) => [null, vg.random.normal(key, { shape: [3] })] as [null, Tensor];
  const all = stack(Array.isArray(keys) ? keys : [keys], { axis: 0 });
  const [, ys] = scan(draw, null, all);
  near(await values(ys), await values(unrolled(draw, null, all)[1]), 0, "draws");
});

test("vjp() of scan() gives zeros where nothing flows", async () => {
  const [, pullback] = vjp(
    (a: Tensor, b: Tensor) => scan((c: any) => [{ a: c.a.mul(2), b: c.b }, c.b] as any, { a, b }, null, { length: 3 }),
    [tensor(1), tensor(2)],
  ) as any;
  const got = pullback([{ a: tensor(1), b: tensor(0) }, tensor([1, 1, 1])]);
  assert.equal(await values(got), [8, 3]);
  const stopped = grad((a: Tensor) => scan((c: Tensor) => [vg.stopGradient(c), c], a, null, { length: 3 })[1].sum());
  assert.is(await stopped(tensor(1)).item(), 1);
});

test("scan() and foriLoop() refuse what does not fit, naming the path", async () => {
  const api = vg as any;
  const c = { h: vg.zeros([2]), n: [tensor(1, { dtype: "i32" })] };
  const of = (step: any, init: any = c, xs: any = vg.zeros([3, 2]), options?: any) => () =>
    api.scan(step, init, xs, options);
  await refuses(of(1), /^scan: the first argument is a function, got 1$/);
  await refuses(of((c: any) => c), /^scan: the function gives \[carry, y\], got \{ h, n \}$/);
  await refuses(
    of((c: any) => [{ ...c, h: vg.zeros([3]) }, null]),
    /^scan: the carry that the function returns at h: the shape is that of Tensor\(f32\[2\]\), with which the step began/,
  );
  await refuses(
    of((c: any) => [{ ...c, n: [c.n[0].mul(0.5)] }, null]),
    /^scan: the carry that the function returns at n\.0: the dtype is that of Tensor\(i32\[\]\), .*got Tensor\(f32\[\]\); cast/,
  );
  await refuses(
    of((c: any) => [{ h: c.h }, null]),
    /^scan: the carry that the function returns at n: missing; an array of 1/,
  );
  await refuses(of((c: any) => [{ ...c, z: c.h }, null]), /^scan: the carry .* at z: nothing has that name/);
  await refuses(
    of((c: any) => [{ ...c, h: 3 }, null]),
    /at h: a tensor like Tensor\(f32\[2\]\) belongs there, got 3; write tensor/,
  );
  await refuses(
    of((c: any) => [c, { y: 1 }]),
    /^scan: the y of a step is a tree of tensors, got 1 at y; write tensor\(1\)$/,
  );
  await refuses(
    of((c: any) => [c, null], { h: 0 }),
    /^scan: the first carry is a tree of tensors, got 0 at h; write tensor\(0\)$/,
  );
  await refuses(
    of((c: any) => [c, null], c, { a: vg.zeros([3]), b: vg.zeros([2, 3]) }),
    /^scan: xs at b is Tensor\(f32\[2, 3\]\): 2 slices, other tensors have 3$/,
  );
  await refuses(of((c: any) => [c, null], c, tensor(1)), /^scan: xs is Tensor\(f32\[\]\), which has no axis 0/);
  await refuses(of((c: any) => [c, null], c, null), /^scan: xs has no tensors, so options\.length gives the number/);
  await refuses(of((c: any) => [c, null], c, vg.zeros([3]), { length: 4 }), /^scan: xs is .*: 3 slices, length is 4$/);
  await refuses(of((c: any) => [c, null], c, null, { length: 1.5 }), /^scan: length is an integer >= 0, got 1.5$/);
  await refuses(
    of((c: any) => [c, null], c, vg.zeros([3]), { unroll: 2 }),
    /^scan: unknown option "unroll"; it takes length/,
  );
  await refuses(
    of((c: any) => [c, null], c, vg.zeros([3]), { checkpoint: 4 }),
    /^scan: checkpoint is true, false or a number/,
  );
  await refuses(of((c: any) => [c, null], c, vg.zeros([3]), { reverse: 1 }), /^scan: reverse is true or false, got 1$/);
  await refuses(of(async (c: any) => [c, null]), /^scan: the function is asynchronous/);
  await refuses(
    () => api.foriLoop(0, 3, (_: any, c: any) => c.cast("i32"), tensor(1)),
    /^foriLoop: the carry .*the dtype/,
  );
  await refuses(
    () => api.foriLoop(0.5, 3, (_: any, c: any) => c, tensor(1)),
    /^foriLoop: start is an integer, got 0.5$/,
  );
  await refuses(
    compile((n: Tensor) => api.foriLoop(0, n, (_: any, c: any) => c, tensor(1)))(3) as Promise<unknown>,
    /^foriLoop: end is an integer, got Tensor\(f32\[\]\); inside a compiled function numbers are tensors/,
  );
  let leaked: Tensor | null = null;
  const [kept] = scan((c: Tensor) => [leaked = c.mul(2), null], tensor(1), null, { length: 2 });
  await kept.data();
  await refuses(leaked!.data(), /is an argument of a function that compile or vmap traces/);
});

test.after(vg.closeDevice);
test.run();
