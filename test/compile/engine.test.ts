// deno-lint-ignore-file no-explicit-any
/** The lazy graph, fusion, programs and memory, against plain loops and identities. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { assertClose, relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { refuses } from "../helpers/refuse.ts";

const { tensor, compile, evaluate, grad, hvp, valueAndGrad } = vg;
const filled = (shape: number[], seed = 1): Tensor =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    { shape },
  );

test("sum() is a tree: 3e7 ones sum to 3e7", async () => {
  assert.is(await vg.ones([3e7]).sum().item(), 3e7);
});

test("sum() of stored values agrees with float64", async () => {
  const data = noise(1_000_003, 5).map((x) => x + 0.5);
  const wanted = data.reduce((a, b) => a + b, 0);
  assert.ok(Math.abs((await tensor(data).sum().item()) / wanted - 1) < 1e-6);
});

for (const axes of [[0], [1], [2], [3], [0, 2], [1, 3], [0, 1, 2, 3], [2, 3], [0, 3], []]) {
  test(`sum() and max() over axes [${axes}] of an odd shape agree with loops`, async () => {
    const shape = [3, 65, 2, 37];
    const data = noise(3 * 65 * 2 * 37, 7);
    const kept = shape.map((n, k) => (axes.includes(k) ? 1 : n));
    const count = kept.reduce((a, b) => a * b, 1);
    const sums = new Float64Array(count);
    const tops = new Float64Array(count).fill(-Infinity);
    for (let i = 0; i < data.length; i++) {
      const at = [Math.floor(i / 4810), Math.floor(i / 74) % 65, Math.floor(i / 37) % 2, i % 37];
      const o = at.reduce((acc, c, k) => acc * kept[k] + (axes.includes(k) ? 0 : c), 0);
      sums[o] += data[i];
      tops[o] = Math.max(tops[o], data[i]);
    }
    const x = tensor(data, { shape });
    await assertClose(x.sum({ axes, keepDims: true }), { shape: kept, data: sums }, 1e-5, "sum");
    await assertClose(x.max({ axes, keepDims: true }), { shape: kept, data: tops }, 0, "max");
  });
}

test("argmax() takes the first among equals, along any axis and over all", async () => {
  const x = tensor([
    [3, 7, 7],
    [9, 9, 1],
  ]);
  assert.equal(await x.argmax({ axis: 1 }).array(), [1, 0]);
  assert.equal(await x.argmax({ axis: 0 }).array(), [1, 1, 0]);
  assert.is(await x.argmax().item(), 3);
  const long = new Float32Array(100_003);
  long[70_001] = long[99_999] = 5;
  assert.is(await tensor(long).argmax().item(), 70_001);
});

test("sum() of an empty axis is 0, max() throws", async () => {
  assert.equal(
    await vg
      .zeros([2, 0])
      .sum({ axes: [1] })
      .array(),
    [0, 0],
  );
  await refuses(() => vg.zeros([2, 0]).max({ axes: [1] }), /max: an empty axis of \[2, 0\]/);
});

test("evaluate() fuses chains with broadcasts, slices, flips, transposes and pads into the right values", async () => {
  const [a, b] = [noise(4 * 5 * 6, 1), noise(6 * 5, 2)];
  const x = tensor(a, { shape: [4, 5, 6] });
  const w = tensor(b, { shape: [6, 5] });
  const y = x
    .add(w.transpose())
    .mul(2)
    .flip({ axes: [1] })
    .slice({ start: [1, 0, 1], end: [4, 5, 6], step: [2, 1, 2] })
    .pad({ before: [0, 1, 0], value: 9 });
  const wanted: number[] = [];
  for (const i of [1, 3]) {
    for (let j = -1; j < 5; j++) {
      for (const k of [1, 3, 5]) {
        wanted.push(j < 0 ? 9 : (a[(i * 5 + (4 - j)) * 6 + k] + b[k * 5 + (4 - j)]) * 2);
      }
    }
  }
  await assertClose(y, { shape: [2, 6, 3], data: wanted }, 1e-6, "chain");
});

test("concat() of 20 inputs, and gradients through it", async () => {
  const parts = Array.from({ length: 20 }, (_, k) => filled([2, (k % 3) + 1, 3], k));
  const y = vg.concat(parts, { axis: 1 });
  const rows = await Promise.all(parts.map((p) => p.array()));
  assert.equal(
    await y.array(),
    [0, 1].map((n) => rows.flatMap((r) => (r as vg.NestedArray[])[n])),
  );
  const weights = filled(y.shape as number[], 99);
  const g = grad((list: Tensor[]) => vg.concat(list, { axis: 1 }).mul(weights).sum())(parts);
  assert.equal(await vg.concat(g, { axis: 1 }).array(), await weights.array());
});

test("evaluate() splits a kernel with more inputs than the device binds", async () => {
  const parts = Array.from({ length: 40 }, (_, k) => filled([7, 9], k));
  await evaluate(parts);
  const y = parts.reduce((a, b) => a.mul(0.5).add(b));
  const data = await Promise.all(parts.map((p) => p.data()));
  const wanted = data.reduce((a, b) => a.map((v, k) => v * 0.5 + b[k]) as Float32Array);
  await assertClose(y, { shape: [7, 9], data: wanted }, 1e-6, "long chain");
});

test("add(), div(), greater() and cast() promote integers and booleans", async () => {
  const i = tensor(new Int32Array([-3, 0, 5]));
  assert.is(i.add(2).dtype, "i32");
  assert.is(i.add(0.5).dtype, "f32");
  assert.is(i.div(2).dtype, "f32");
  assert.equal(await i.div(2).array(), [-1.5, 0, 2.5]);
  assert.equal(await i.greater(-1).array(), [false, true, true]);
  assert.equal(await i.greater(-1).sum().array(), 2);
  assert.equal(await tensor([-1.7, 1.7]).cast("i32").array(), [-1, 1]);
  assert.equal(await vg.where(i.less(0), 1, i).array(), [1, 0, 5]);
});

test("matmul() of odd shapes, vectors, broadcast batches and empty sums agrees with loops", async () => {
  for (
    const [n, k, m] of [
      [1, 1, 1],
      [5, 130, 3],
      [33, 7, 18],
    ] as const
  ) {
    const [a, b] = [noise(2 * n * k, 1), noise(3 * k * m, 2)];
    const wanted = new Float64Array(6 * n * m);
    for (let i = 0; i < wanted.length; i++) {
      const [batch, row, column] = [Math.floor(i / (n * m)), Math.floor(i / m) % n, i % m];
      for (let t = 0; t < k; t++) {
        wanted[i] += a[(Math.floor(batch / 3) * n + row) * k + t] * b[((batch % 3) * k + t) * m + column];
      }
    }
    const y = vg.matmul(tensor(a, { shape: [2, 1, n, k] }), tensor(b, { shape: [3, k, m] }));
    // Products of up to 130 terms around 1: rounding grows with their number.
    await assertClose(y, { shape: [2, 3, n, m], data: wanted }, 1e-6, `matmul ${n} x ${k} x ${m}`);
  }
  const v = tensor([1, 2, 3]);
  assert.equal(await vg.matmul(v, v).array(), 14);
  assert.equal(
    await vg
      .matmul(
        tensor([
          [1, 0, 1],
          [0, 2, 0],
        ]),
        v,
      )
      .array(),
    [4, 4],
  );
  assert.equal(await vg.matmul(vg.zeros([2, 0]), vg.zeros([0, 2])).array(), [
    [0, 0],
    [0, 0],
  ]);
  await refuses(() => vg.matmul(v, tensor([[1, 2]])), /matmul: inner sizes differ: 3 of \[3\] and 1 of \[1, 2\]/);
});

test("cosineSimilarity() of many with many vectors, their axes interleaved, agrees with loops", async () => {
  const [a, b] = [noise(2 * 3 * 5 * 4, 3), noise(2 * 5 * 9, 4)];
  const y = vg.cosineSimilarity(tensor(a, { shape: [2, 3, 5, 1, 4] }), tensor(b, { shape: [2, 1, 5, 9, 1] }), {
    axis: 2,
  });
  const wanted = new Float64Array(2 * 3 * 9 * 4);
  for (let i = 0; i < wanted.length; i++) {
    const [n, p, q, r] = [Math.floor(i / 108), Math.floor(i / 36) % 3, Math.floor(i / 4) % 9, i % 4];
    let [dot, aa, bb] = [0, 0, 0];
    for (let c = 0; c < 5; c++) {
      const [u, v] = [a[((n * 3 + p) * 5 + c) * 4 + r], b[(n * 5 + c) * 9 + q]];
      dot += u * v;
      aa += u * u;
      bb += v * v;
    }
    wanted[i] = dot / Math.sqrt(aa * bb);
  }
  await assertClose(y, { shape: [2, 3, 9, 4], data: wanted }, 1e-6, "cosineSimilarity");
});

test("cosineSimilarity() of a zero vector is 0 and its gradient finite", async () => {
  const zero = vg.zeros([1, 3, 2]);
  const y = filled([1, 3, 2], 4);
  assert.equal(await vg.cosineSimilarity(zero, y).array(), [[0, 0]]);
  const g = await grad((x: Tensor) => vg.cosineSimilarity(x, y).sum())(zero).data();
  assert.ok(g.every((value: number) => Number.isFinite(value)));
});

test("take() with repeated indices, forward and gradient", async () => {
  const x = filled([5, 4], 3);
  const indices = tensor(new Int32Array([4, 0, 4]));
  const data = await x.data();
  const y = x.take(indices, { axis: 0 });
  await assertClose(y, { shape: [3, 4], data: [4, 0, 4].flatMap((r) => [...data.slice(r * 4, r * 4 + 4)]) }, 0, "take");
  const g = grad((t: Tensor) => t.take(indices, { axis: 0 }).sum())(x);
  assert.equal(await g.sum({ axes: [1] }).array(), [4, 0, 0, 0, 8]);
});

test("compile() gives what the graph gives, donates in place, and traces numbers once", async () => {
  const f = (p: { w: Tensor; b: Tensor }, x: Tensor, rate: any): [Tensor, any] => {
    const [loss, g] = valueAndGrad((q: { w: Tensor; b: Tensor }) => x.mul(q.w).add(q.b).tanh().square().mean())(p);
    return [loss, { w: p.w.sub(g.w.mul(rate)), b: p.b.sub(g.b.mul(rate)) }];
  };
  const fresh = (): { w: Tensor; b: Tensor } => ({ w: filled([17, 33], 1), b: filled([33], 2) });
  const x = filled([17, 33], 4);
  const step = compile(f, { donate: [0] });
  let compiled = fresh();
  let plain = fresh();
  for (const rate of [0.5, 0.25, 0.125]) {
    const before = compiled;
    const [loss, next] = await step(compiled, x, rate);
    const [wanted, reference] = f(plain, x, rate);
    await evaluate([wanted, reference]);
    assert.ok(relativeError(await loss.data(), await wanted.data()) < 1e-6);
    await refuses(() => before.w.data(), /disposed/);
    compiled = next;
    plain = reference;
  }
  await assertClose(compiled.w, { shape: [17, 33], data: await plain.w.data() }, 1e-6, "w");
  assert.is(step.programs().length, 1);
});

test("compile() keeps a donated tensor's other users safe", async () => {
  const w = filled([100], 1);
  await evaluate(w);
  const before = await w.data();
  const double = compile((x: Tensor, y: Tensor) => x.mul(2).add(y.mul(0)), { donate: [0] });
  const twin = compile((x: Tensor) => [x, x.reshape({ shape: [10, 10] })]);
  const [same, square] = await twin(w);
  const out = await double(same, filled([100], 2));
  await assertClose(out, { shape: [100], data: before.map((v) => v * 2) }, 0, "result");
  await assertClose(w, { shape: [100], data: before }, 0, "the original");
  await assertClose(square, { shape: [10, 10], data: before }, 0, "the view");
});

test("compile() refuses to wait inside, and says so", async () => {
  const reading = compile((x: Tensor) => {
    void x.data().then(() => undefined);
    return x.add(1);
  });
  await refuses(() => reading(filled([3])), /not known before it runs/);
  await refuses(() => compile((async (x: Tensor) => x) as never)(filled([3]) as never), /asynchronous/);
  const known = filled([3]).mul(2);
  let inner: Promise<unknown> = Promise.resolve();
  await compile((x: Tensor) => {
    inner = known.data();
    return x;
  })(filled([3]));
  assert.is(((await inner) as Float32Array).length, 3, "what has values may be read");
});

test("compile() keeps memory flat and allocates nothing after the first call", async () => {
  const step = compile(
    (w: Tensor, x: Tensor) => {
      const [loss, g] = valueAndGrad((q: Tensor) => q.mul(x).tanh().sum())(w);
      return [w.sub(g.mul(0.01)), loss];
    },
    { donate: [0] },
  );
  let w = filled([300, 30], 1);
  const x = filled([300, 30], 2);
  let loss: Tensor;
  for (let k = 0; k < 3; k++) {
    [w, loss] = (await step(w, x)) as [Tensor, Tensor];
    loss.dispose();
  }
  const before = vg.memoryStats();
  for (let k = 0; k < 200; k++) {
    [w, loss] = (await step(w, x)) as [Tensor, Tensor];
    loss.dispose();
  }
  const after = vg.memoryStats();
  assert.is(after.allocations, before.allocations);
  // Less where earlier garbage was collected meanwhile.
  assert.ok(after.live <= before.live);
});

test("grad() of third order and hvp() agree with formulas and differences of gradients", async () => {
  const f = (x: Tensor): Tensor => x.mul(x.sin()).sum();
  const third = grad((x: Tensor) => grad((y: Tensor) => grad(f)(y).sum())(x).sum());
  const at = tensor([0.3, -1.2, 2]);
  // d3/dx3 x sin x = -3 sin x - x cos x
  const wanted = [0.3, -1.2, 2].map((x) => -3 * Math.sin(x) - x * Math.cos(x));
  await assertClose(third(at), { shape: [3], data: wanted }, 1e-5, "third derivative");
  const g = (x: Tensor): Tensor =>
    vg
      .softmax(x.square())
      .mul(filled([5], 9))
      .sum();
  const [x, v] = [noise(5, 11), noise(5, 12)];
  const h = 1e-2;
  const shifted = async (sign: number): Promise<ArrayLike<number>> =>
    grad(g)(tensor(x.map((t, k) => t + sign * h * v[k]))).data();
  const [up, down] = [await shifted(1), await shifted(-1)];
  const difference = Float32Array.from({ length: 5 }, (_, k) => (up[k] - down[k]) / (2 * h));
  // Central differences in f32: rounding 1e-7 / h and truncation h^2.
  await assertClose(hvp(g, [tensor(x)], [tensor(v)])[0], { shape: [5], data: difference }, 2e-3, "hvp");
});

test("grad() takes a captured tensor as a constant, even when it is the point itself", async () => {
  const x = tensor([2, 3]);
  assert.equal(await grad((y: Tensor) => y.mul(x).sum())(x).array(), [2, 3]);
});

test("add(), sum(), conv3d() and others throw with operator, what they got and what they take", async () => {
  await refuses(() => filled([2, 3]).add(filled([4])), /add: shapes \[2, 3\] and \[4\] do not broadcast/);
  await refuses(() => filled([2]).sum({ axis: [0] } as never), /sum: unknown option "axis"; it takes axes, keepDims/);
  await refuses(() => vg.conv3d(filled([1, 2, 4, 4, 4]), filled([3, 3, 3, 3, 3])), /conv3d: an input of 2 channels/);
  await refuses(
    () => vg.conv3d(filled([1, 2, 2, 2, 2]), filled([3, 2, 3, 3, 3])),
    /conv3d: kernel \[3, 3, 3\].*does not fit/,
  );
  await refuses(() => filled([6]).reshape({ shape: [4, -1] }), /reshape: 6 elements/);
  await refuses(() => grad((x: Tensor) => x.mul(2))(filled([3])), /grad: the function gives one number of dtype f32/);
  await refuses(() => grad((x: Tensor) => x.sum())(tensor(new Int32Array(3))), /i32, which has no gradient/);
  await refuses(() => tensor([[1, 2], [3]]), /tensor: rows differ/);
  await refuses(() => vg.zeros([2 ** 20, 2 ** 12]), /2\^31 elements/);
  await refuses(() => vg.groupNorm(filled([1, 6, 4]), { groups: 4 }), /groupNorm: groups divides the 6 channels/);
  await refuses(() => filled([2]).item(), /item: the tensor has 2 elements/);
});

test("evaluate() throws with the bytes of a tensor over the largest buffer", async () => {
  const { limits } = await vg.deviceInfo();
  const n = Math.floor(limits.maxBufferSize / 4) + 1;
  assert.ok(n < 2 ** 31, "the limit is within what can be indexed");
  await refuses(
    () => evaluate(vg.arange(n, undefined, { dtype: "f32" })),
    /arange .*needs \d+ bytes in one buffer, the adapter allocates at most/,
  );
});

test("dispose() gives memory back and later use is refused", async () => {
  const x = filled([1000], 1).mul(2);
  await evaluate(x);
  const before = vg.memoryStats().live;
  x.dispose();
  assert.is(before - vg.memoryStats().live, 4000);
  await refuses(() => x.add(1), /disposed/);
  await refuses(() => x.data(), /disposed/);
});

test.after(vg.closeDevice);
test.run();
