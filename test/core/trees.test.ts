// deno-lint-ignore-file no-explicit-any
/** Trees belong together by name, whatever the order of their names; what does not fit is told by its path. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import {
  compile,
  customVjp,
  evaluate,
  grad,
  hvp,
  jvp,
  ones,
  Tensor,
  tensor,
  type Tree,
  tree,
  valueAndGrad,
  vjp,
  vmap,
} from "../../engine/mod.ts";
import { adam, clipGradNorm, sgd } from "../../engine/nn/mod.ts";
import { message } from "../helpers/refuse.ts";

const s = (value: number): Tensor => tensor([value]);
const plain = async (t: unknown): Promise<any> => {
  const done = await evaluate(t) as Tree;
  const list = new Map<Tensor, unknown>();
  for (const leaf of tree.leaves(done)) list.set(leaf, await leaf.array());
  return tree.map(done, (leaf) => list.get(leaf));
};

test("hvp(), jvp() and vjp() pair directions by name", async () => {
  // f = a^3 + b^3, H = diag(6a, 6b)
  const cubes = (p: any): Tensor => p.a.mul(p.a).mul(p.a).add(p.b.mul(p.b).mul(p.b)).sum();
  const at = { a: s(1), b: s(2) };
  const [h] = await plain(hvp(cubes, [at], [{ b: s(1), a: s(0) }]));
  assert.equal(h, { a: [0], b: [12] });
  const [y, dy] = await plain(jvp((p: any) => p.a.mul(p.b), [{ a: s(1), b: s(2) }], [{ b: s(0), a: s(1) }]));
  assert.equal([y, dy], [[2], [2]]);
  const [, pullback] = vjp((x: Tensor) => ({ x: x.mul(2), y: x.mul(10), deep: [{ u: x, v: x.mul(100) }] }), [s(1)]);
  assert.equal(await plain(pullback({ deep: [{ v: s(1), u: s(0) }], y: s(0), x: s(1) })), [[102]]);
  assert.match(
    await message(() => pullback({ y: s(1), x: s(1) } as never)),
    /^vjp: the cotangents at deep: missing; an array of 1 belongs there$/,
  );
  assert.match(
    await message(() => pullback({ y: s(1), x: s(1), deep: [{ u: s(1), w: s(1) }] } as never)),
    /^vjp: the cotangents at deep\.0\.w: nothing has that name/,
  );
  assert.match(
    await message(() => pullback({ y: s(1), x: ones([2]), deep: [{ u: s(1), v: s(1) }] })),
    /^vjp: the cotangents at x: the shape is that of/,
  );
  const misfits: [unknown, RegExp][] = [
    [{ a: s(1) }, /^jvp: the tangents at 0\.b: missing; Tensor\(f32\[1\]\) belongs there$/],
    [{ a: s(1), b: s(1), c: s(1) }, /^jvp: the tangents at 0\.c: nothing has that name, got Tensor/],
    [
      { a: s(1), b: tensor([1], { dtype: "i32" }) },
      /^jvp: the tangents at 0\.b: the dtype is f32 or f16, got Tensor\(i32/,
    ],
    [{ a: s(1), b: 3 }, /^jvp: the tangents at 0\.b: a tensor like Tensor\(f32\[1\]\) belongs there, got 3$/],
    [[s(1), s(1)], /^jvp: the tangents at 0: an object { a, b } belongs there, got \[Tensor/],
    [{ a: [s(1)], b: s(1) }, /^jvp: the tangents at 0\.a: Tensor\(f32\[1\]\) belongs there, got \[Tensor/],
    [{ __proto__: { b: s(1) }, a: s(1) }, /^jvp: the tangents at 0: an object { a, b } belongs there/],
  ];
  for (const [tangent, wanted] of misfits) {
    assert.match(await message(() => jvp(cubes, [at], [tangent as never])), wanted);
  }
});

test("sgd() and adam() pair parameters, gradients and state by name", async () => {
  for (const [name, optimizer] of [["sgd", sgd({ momentum: 0.9 })], ["adam", adam()]] as const) {
    const params = { weight: s(10), bias: s(20) };
    const grads = { weight: s(1), bias: s(-1) };
    const turned = { bias: grads.bias, weight: grads.weight };
    const first = optimizer.update(grads, optimizer.init(params), params, 0.5);
    const state = Object.fromEntries(
      Object.entries(first[1]).map(([k, v]: any) => [k, v instanceof Tensor ? v : { bias: v.bias, weight: v.weight }]),
    );
    const wanted = await plain(optimizer.update(grads, first[1], first[0], 0.5));
    assert.equal(await plain(optimizer.update(turned, state, first[0], 0.5)), wanted, name);
    const { bias, ...less } = grads;
    assert.match(
      await message(() => optimizer.update(less as never, first[1], params, 0.5)),
      new RegExp(`^${name}: grads at bias: missing`),
    );
    assert.match(
      await message(() => optimizer.update({ ...grads, gain: bias } as never, first[1], params, 0.5)),
      new RegExp(`^${name}: grads at gain: nothing has that name`),
    );
    assert.match(
      await message(() => optimizer.update(grads, first[1], params, undefined as never)),
      new RegExp(
        `^${name}: the learning rate is a number or a scalar tensor, got undefined; call update\\(grads, state, params, rate\\)$`,
      ),
    );
    for (const rate of ["0.1", NaN, ones([2]), null]) {
      assert.match(
        await message(() => optimizer.update(grads, first[1], params, rate as never)),
        /the learning rate is/,
      );
    }
  }
  assert.match(
    await message(() => adam().update([s(1)], { mean: [s(1)], square: [s(1)] }, [s(1)], 1)),
    /^adam: the state's step is/,
  );
});

test("customVjp() pairs the cotangents of its rule by name", async () => {
  const f = customVjp(
    (p: any) => p.a.add(p.b.mul(2)),
    (p: any) => [p.a.add(p.b.mul(2)), null],
    (_, g: Tensor) => [{ b: g.mul(2), a: g }],
  );
  assert.equal(await plain(grad((p: any) => f(p).sum())({ a: s(1), b: s(1) })), { a: [1], b: [2] });
  const extra = customVjp((p: any) => p.a.mul(1), (p: any) => [p.a, null], (_, g: Tensor) => [{ a: g, c: g }]);
  assert.match(
    await message(() => grad((p: any) => extra(p).sum())({ a: s(1) })),
    /^customVjp: backward's cotangents of argument 0 at c: nothing has that name/,
  );
});

test("grad(), adam() and others take null in a tree as an absent leaf", async () => {
  const params: any = { conv: { weight: s(3), bias: null }, more: [undefined, s(2)] };
  const loss = (p: any): Tensor => p.conv.weight.mul(p.more[1]).sum().add(p.conv.bias ?? 0);
  const g = grad(loss)(params);
  assert.equal(await plain(g), { conv: { weight: [2], bias: null }, more: [undefined, [3]] });
  const optimizer = adam();
  const [next, state] = optimizer.update(g, optimizer.init(params), params, 0.1);
  assert.is(next.conv.bias, null);
  assert.is((state as any).mean.conv.bias, null);
  assert.equal(await plain(clipGradNorm(g, 100)[0]), await plain(g));
  assert.is(await ((await compile(loss)(params)) as Tensor).item(), 6);
  assert.equal([...tree.flatten(params).keys()], ["conv.weight", "more.1"]);
  assert.equal(await plain(hvp(loss, [params], [{ conv: { weight: s(1) }, more: [null, s(0)] }])[0].more[1]), [1]);
  const [[y]] = [await plain([vg.checkpoint((p: any) => ({ y: loss(p), z: null }))(params).y])];
  assert.is(y, 6);
  assert.equal(await vmap((p: any) => p.w.mul(2))({ w: tensor([[1], [2]]), bias: null }).array(), [[2], [4]]);
  assert.match(await message(() => grad(loss)(null)), /^grad: arguments are trees of tensors, got null$/);
});

test("grad() and valueAndGrad() differentiate by the arguments in argnums", async () => {
  const f = (a: Tensor, b: Tensor, k: number): Tensor => a.mul(b).mul(k).sum();
  const [a, b] = [tensor([1, 2]), tensor([3, 5])];
  assert.equal(await plain(grad(f, { argnums: 1 })(a, b, 2)), [2, 4]);
  assert.equal(await plain(grad(f, { argnums: [1, 0] })(a, b, 2)), [[2, 4], [6, 10]]);
  assert.equal(await plain(valueAndGrad(f, { argnums: [0] })(a, b, 1)), [13, [[3, 5]]]);
  for (const argnums of [-1, 0.5, "0", [], [0, 0], null]) {
    if (argnums !== null) {
      assert.match(
        await message(() => grad(f, { argnums: argnums as never })(a, b, 1)),
        /^grad: argnums is the position/,
      );
    }
  }
  assert.match(await message(() => grad(f, { argnums: 2 })(a, b, 1)), /^grad: arguments are trees of tensors, got 1$/);
  assert.match(
    await message(() => grad(f, { argNums: 1 } as never)),
    /^grad: unknown option "argNums"; it takes argnums$/,
  );
});

test("grad(), tree.leaves() and others throw on trees that contain themselves or are too deep", async () => {
  const ring: any = { a: s(1) };
  ring.b = [ring];
  let deep: any = s(1);
  for (let k = 0; k < 100_000; k++) deep = [deep];
  for (const wrong of [ring, deep]) {
    const f = (p: any): Tensor => p.a ?? s(1);
    const uses: (() => unknown)[] = [
      () => evaluate(wrong),
      () => compile(f)(wrong),
      () => grad(f)(wrong),
      () => jvp(f, [wrong], [wrong]),
      () => vmap(f)(wrong),
      () => vg.checkpoint(f)(wrong),
      () => sgd().update(wrong, {}, wrong, 1),
      () => clipGradNorm(wrong, 1),
      () => tree.leaves(wrong),
      () => tree.flatten(wrong),
      () => compile(() => wrong)(),
    ];
    for (const use of uses) {
      assert.match(await message(use), /^tree: the tree( at .*)? (contains itself|is nested deeper)/s, String(use));
    }
  }
  const shared = [s(1)];
  assert.is(tree.leaves({ a: shared, b: shared }).length, 2, "the same branch in two places is no ring");
  const cycle: any[] = [];
  cycle.push(cycle);
  for (const data of [cycle, [[1], cycle], deep]) assert.match(await message(() => tensor(data)), /^tensor: /);
});

test("tree.flatten() refuses names that make one path of two leaves", async () => {
  assert.match(
    await message(() => tree.flatten({ "a.b": s(1), a: { b: s(2) } })),
    /^tree.flatten: two leaves have the path a\.b/,
  );
});

test("tree.map() of several trees pairs leaves by name, keeps null, and gives the path last", async () => {
  const [a, b] = [{ w: 1, deep: [2, null, { x: 3 }] }, { deep: [20, null, { x: 30 }], w: 10 }];
  assert.equal(tree.map(a, b, (x: any, y: any, path: string) => `${path}: ${x + y}`), {
    w: "w: 11",
    deep: ["deep.0: 22", null, { x: "deep.2.x: 33" }],
  });
  const c = { deep: [200, undefined, { x: 300 }], w: 100 };
  assert.equal(tree.map(a, b, c, (x: any, y: any, z: any) => x + y + z), { w: 111, deep: [222, null, { x: 333 }] });
  assert.equal(tree.map(a, a, a, a, (...all: any[]) => all.length), { w: 5, deep: [5, null, { x: 5 }] });
  assert.is(tree.map(1, 2, (x, y, path) => `${x} ${y}${path}`), "1 2");
});

test("tree.map() of several trees names the path of what does not fit", async () => {
  const a = { w: s(1), deep: [s(2), { x: s(3) }] };
  const of = (b: unknown, ...more: unknown[]) => () => (tree.map as any)(a, b, ...more, () => 0);
  const cases: [() => unknown, RegExp][] = [
    [of({ w: s(1), deep: [s(2), {}] }), /^tree\.map: tree 2 at deep\.1\.x: missing; Tensor\(f32\[1\]\) belongs there$/],
    [of({ ...a, v: s(1) }), /^tree\.map: tree 2 at v: nothing has that name, got Tensor/],
    [of({ w: [s(1)], deep: a.deep }), /^tree\.map: tree 2 at w: Tensor\(f32\[1\]\) belongs there, got \[Tensor/],
    [of({ w: s(1), deep: s(2) }), /^tree\.map: tree 2 at deep: an array of 2 belongs there, got Tensor/],
    [of(null), /^tree\.map: tree 2: missing; an object \{ w, deep \} belongs there$/],
    [of(a, { w: s(1) }), /^tree\.map: tree 3 at deep: missing; an array of 2 belongs there$/],
    [() => (tree.map as any)(a, a), /^tree\.map: the last argument is a function, got \{ w, deep \}$/],
    [() => (tree.map as any)(a), /^tree\.map: the last argument is a function, got undefined$/],
  ];
  for (const [call, wanted] of cases) assert.match(await message(call), wanted);
  const loop: any = { w: s(1) };
  loop.self = loop;
  assert.match(await message(() => (tree.map as any)(loop, loop, () => 0)), /^tree: the tree at self contains itself/);
});

test("tree.add(), sub(), scale(), dot(), norm(), zerosLike() and where() compute by name", async () => {
  const a = { w: tensor([[1, -2], [3, 4]]), deep: [tensor(2), null] };
  const b = { deep: [tensor(5), null], w: tensor([[0.5, 1], [2, -1]]) };
  assert.equal(await plain(tree.add(a, b)), { w: [[1.5, -1], [5, 3]], deep: [7, null] });
  assert.equal(await plain(tree.sub(a, b)), { w: [[0.5, -3], [1, 5]], deep: [-3, null] });
  assert.equal(await plain(tree.scale(a, -2)), { w: [[-2, 4], [-6, -8]], deep: [-4, null] });
  assert.equal(await plain(tree.scale(a, tensor(0.5))), { w: [[0.5, -1], [1.5, 2]], deep: [1, null] });
  assert.is(await tree.dot(a, b).item(), 0.5 - 2 + 6 - 4 + 10);
  assert.is(await tree.norm(b).item(), Math.fround(Math.sqrt(0.25 + 1 + 4 + 1 + 25)));
  const zeros = tree.zerosLike({ ...a, n: tensor([1, 2], { dtype: "i32" }) });
  assert.equal(await plain(zeros), { w: [[0, 0], [0, 0]], deep: [0, null], n: [0, 0] });
  assert.is(zeros.n.dtype, "i32");
  for (const truth of [true, false]) {
    assert.equal(await plain(tree.where(tensor(truth), a, b)), await plain(truth ? a : { w: b.w, deep: b.deep }));
  }
  // No tensors, one, and more than a kernel binds.
  assert.is(await tree.norm({}).item(), 0);
  assert.is(await tree.dot([tensor([3])], [tensor([4])]).item(), 12);
  const many = Array.from({ length: 33 }, (_, k) => tensor([k, 1]));
  assert.is(await tree.dot(many, many).item(), 33 + (32 * 33 * 65) / 6);
});

test("tree.dot() and norm() have their derivatives; that of the norm at 0 is 0", async () => {
  const p = { a: tensor([3]), b: tensor([0, 4]) };
  assert.equal(await plain(grad((p: typeof p0) => tree.norm(p))(p)), {
    a: [Math.fround(0.6)],
    b: [0, Math.fround(0.8)],
  });
  const p0 = { a: tensor([0]), b: tensor([0, 0]) };
  assert.equal(await plain(grad((p: typeof p0) => tree.norm(p))(p0)), { a: [0], b: [0, 0] });
  assert.equal(await plain(grad((p: typeof p0) => tree.dot(p, p))(p)), { a: [6], b: [0, 8] });
});

test("tree.add(), dot() and others refuse what does not fit, naming the path", async () => {
  const api = tree as any;
  const a = { w: ones([2]), b: ones([3]) };
  const cases: [() => unknown, RegExp][] = [
    [
      () => api.add(a, { w: ones([2]), b: ones([2]) }),
      /^tree\.add: the trees differ at b: Tensor\(f32\[3\]\) and Tensor\(f32\[2\]\)$/,
    ],
    [
      () => api.add(a, { w: ones([2]), b: 1 }),
      /^tree\.add: a tree of tensors is wanted, got 1 at b of the second tree$/,
    ],
    [
      () => api.dot(a, { w: ones([2]) }),
      /^tree\.dot: the second tree at b: missing; Tensor\(f32\[3\]\) belongs there$/,
    ],
    [() => api.add(a), /^tree\.add: the second tree: missing; an object \{ w, b \} belongs there$/],
    [() => api.norm({ w: 2 }), /^tree\.norm: a tree of tensors is wanted, got 2 at w$/],
    [() => api.zerosLike({ w: "a" }), /^tree\.zerosLike: a tree of tensors is wanted, got "a" at w$/],
    [() => api.scale(a, "2"), /^tree\.scale: the factor is a number or a scalar tensor, got "2"$/],
    [() => api.scale(a, ones([2])), /^tree\.scale: the factor is a number or a scalar tensor, got Tensor/],
    [() => api.where(true, a, a), /^tree\.where: the condition is a bool scalar, got true$/],
    [() => api.where(tensor([true]), a, a), /^tree\.where: the condition is a bool scalar, got Tensor\(bool\[1\]\)$/],
  ];
  for (const [call, wanted] of cases) assert.match(await message(call), wanted);
});

test.after(vg.closeDevice);
test.run();
