// deno-lint-ignore-file no-explicit-any
/** Which kernels a program has, exactly, and that joined kernels compute what their parts would. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { lower } from "../../engine/compile/graph/lower.ts";
import { planProgram } from "../../engine/compile/plan_program.ts";
import { singleSteps } from "../../engine/compile/schedule.ts";
import { device } from "../../engine/gpu/mod.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

const { compile, tensor } = vg;

// Around the sizes at which a row goes to one invocation, to several passes, to a workgroup.
for (const rows of [1, 3, 4, 5, 1025]) {
  for (const length of [1, 31, 33, 513, 1023, 1024, 4097, 40_001]) {
    if (rows * length > 200_000) continue;
    test(`sum() of ${rows} rows of ${length}: alone, two merged, with an epilogue, along the other axis`, async () => {
      const x = noise(rows * length, 7);
      const w = noise(rows, 8);
      const t = tensor(x, { shape: [rows, length] });
      const p = tensor(w, { shape: [rows] });
      const sums = compile((a: Tensor, b: Tensor) => ({
        one: a
          .sum({ axes: [1] })
          .add(1)
          .mul(b),
        both: [a.sum({ axes: [1] }), a.mul(a).sum({ axes: [1] })],
        down: a
          .transpose()
          .mul(0.5)
          .sum({ axes: [0] })
          .sub(b),
      }));
      const got = await sums(t, p);
      const wanted = { s: new Float64Array(rows), q: new Float64Array(rows) };
      for (let r = 0; r < rows; r++) {
        for (let k = 0; k < length; k++) {
          wanted.s[r] += x[r * length + k];
          wanted.q[r] += x[r * length + k] ** 2;
        }
      }
      // Noise around 0 sums to far less than its terms; errors are of the order of the root of the sum of squares.
      const scale = Math.sqrt(Math.max(...wanted.q)) + 1;
      const close = async (y: Tensor, f: (k: number) => number): Promise<void> =>
        (await y.data()).forEach((v, k) => assert.ok(Math.abs(v - f(k)) < 1e-6 * scale, `${v} for ${f(k)}`));
      await close(got.one, (k) => (wanted.s[k] + 1) * w[k]);
      await close(got.both[0], (k) => wanted.s[k]);
      assert.ok(relativeError(await got.both[1].data(), wanted.q) < 1e-6);
      await close(got.down, (k) => 0.5 * wanted.s[k] - w[k]);
    });
  }
}

const kernels = async (f: (...args: Tensor[]) => unknown, ...args: Tensor[]): Promise<readonly string[]> =>
  (await compile(f).plan(...args)).kernels;
const field = (...shape: number[]): Tensor =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, 1),
      3,
    ),
    { shape },
  );

test("compile() merges sums over the same rows into one kernel, also where one comes later", async () => {
  const list = await kernels(
    (x: Tensor, y: Tensor) => {
      const first = x.sum({ axes: [1] });
      const other = y.exp();
      return [first, other, x.mul(y).sum({ axes: [1] }), y.sum({ axes: [1] })];
    },
    field(8, 2100),
    field(8, 2100),
  );
  // On a CPU adapter a second kernel adds the parts of all three.
  assert.is(list.filter((name) => !name.endsWith(".partial")).length, 2);
  assert.is(list.filter((name) => name.includes("&") && !name.endsWith(".partial")).length, 1);
});

test("compile() does not merge a sum with one that needs it", async () => {
  const x = field(8, 2100);
  const variance = (t: Tensor): Tensor =>
    t
      .sub(t.mean({ axes: [1], keepDims: true }))
      .square()
      .sum({ axes: [1] });
  assert.is((await kernels(variance, x)).filter((name) => !name.includes(".partial")).length, 2);
  const data = await x.data();
  const wanted = Array.from({ length: 8 }, (_, r) => {
    const row = [...data.subarray(r * 2100, (r + 1) * 2100)];
    const mean = row.reduce((a, b) => a + b, 0) / 2100;
    return row.reduce((a, b) => a + (b - mean) ** 2, 0);
  });
  assert.ok(relativeError(await compile(variance)(x).then((y) => y.data()), wanted) < 1e-6);
});

test("compile() ends a gradient in the update of its parameter, in the parameter's own memory", async () => {
  const step = compile(
    (w: Tensor, x: Tensor, rate: Tensor) => {
      const [loss, g] = vg.valueAndGrad((p: Tensor) => vg.conv3d(x, p, { padding: 1 }).square().sum())(w);
      return [w.sub(g.mul(rate)), loss];
    },
    { donate: [0] },
  );
  const x = field(1, 4, 12, 12, 12);
  const w = noise(4 * 4 * 27, 5);
  const plan = await step.plan(tensor(w, { shape: [4, 4, 3, 3, 3] }), x, 0.25);
  assert.ok(
    plan.kernels.some((name) => /^sub\+mul\(/.test(name)),
    plan.kernels.join(", "),
  );
  const [next] = await step(tensor(w, { shape: [4, 4, 3, 3, 3] }), x, 0.25);
  const g = vg.grad((p: Tensor) => vg.conv3d(x, p, { padding: 1 }).square().sum())(
    tensor(w, { shape: [4, 4, 3, 3, 3] }),
  );
  const gradient = await g.data();
  assert.ok(
    relativeError(
      await next.data(),
      w.map((v, k) => v - 0.25 * gradient[k]),
    ) < 1e-6,
  );
});

test("compile() runs updates soon after their gradients, and overwrites nothing needed later", async () => {
  const size = 96;
  const optimizer = nn.adam({ weightDecay: 0.1 });
  const take = (p: Tensor[], s: any, x: Tensor, rate: Tensor) => {
    // The gradient of a standardized weight is more than a load, so what weight decay makes of it is kept for Adam's
    // means.
    const layer = vg.checkpoint((h: Tensor, w: Tensor) => vg.matmul(h, vg.weightStandardize(w)).mul(0.1).tanh());
    const loss = (ws: Tensor[]): Tensor => ws.reduce((h, w) => layer(h, w), x).square().mean();
    const [value, grads] = vg.valueAndGrad(loss)(p);
    return [value, ...optimizer.update(grads, s, p, rate)];
  };
  const made = (): Tensor[] =>
    Array.from({ length: 8 }, (_, k) => tensor(noise(size * size, 20 + k), { shape: [size, size] }).mul(0.1));
  const x = field(3, size);
  const inPlace = compile(take, { donate: [0, 1] });
  const apart = compile(take);
  const [own, other] = [made(), made()];
  const gradient = 4 * size * size;
  const info = await inPlace.plan(own, optimizer.init(own), x, 0.01);
  assert.ok(info.arenaBytes < 5 * gradient, `${info.arenaBytes / gradient} gradients of 8`);
  // Parameters and both of Adam's means once each: nothing is written beside what it replaces.
  assert.ok(info.peakBytes - info.arenaBytes < 3 * 8 * gradient + 4096, `${info.peakBytes - info.arenaBytes} bytes`);
  let [a, b]: any[] = [[0, own, optimizer.init(own)], [0, other, optimizer.init(other)]];
  for (let k = 0; k < 3; k++) [a, b] = [await inPlace(a[1], a[2], x, 0.01), await apart(b[1], b[2], x, 0.01)];
  const [got, wanted] = [a, b].map((result) => vg.tree.leaves(result) as Tensor[]);
  for (const [k, t] of got.entries()) assert.equal(await t.data(), await wanted[k].data(), `result ${k}`);
});

test("compile() writes a sum that is an output, or is read twice, as it is", async () => {
  const x = field(8, 2100);
  const outputs = compile((t: Tensor) => {
    const s = t.sum({ axes: [1] });
    return [s, s.add(1)];
  });
  const [s, more] = await outputs(x);
  const values = await s.data();
  assert.equal(
    [...(await more.data())],
    [...values].map((v) => Math.fround(v + 1)),
  );
});

test("groupNorm() with what follows it is two kernels: the moments, and all else", async () => {
  const list = await kernels((x: Tensor) => vg.groupNorm(x, { groups: 4 }).relu(), field(1, 8, 8, 8, 8));
  // On a CPU adapter a second kernel merges the parts.
  assert.equal(list.filter((name) => name !== "moments.merge").length, 2);
  assert.match(list[0], /^moments/);
});

for (
  const [rows, length] of [
    [512, 130],
    [68, 1030],
    [513, 130],
  ] as const
) {
  test(`compile() joins row, column and scalar values in a kernel, ${rows} x ${length}, also in place`, async () => {
    const [x, r, c, s] = [noise(rows * length, 1), noise(rows, 2), noise(length, 3), noise(1, 4)];
    const f = compile(
      (x: Tensor, r: Tensor, c: Tensor, s: Tensor) =>
        vg.where(r.greater(0), x.mul(r).add(c.exp()), c.sub(x)).mul(s.exp()),
      { donate: [0] },
    );
    const y = await f(
      tensor(x, { shape: [rows, length] }),
      tensor(r, { shape: [rows, 1] }),
      tensor(c, { shape: [1, length] }),
      tensor(s, { shape: [1, 1] }),
    ).then((t) => t.data());
    const wanted = x.map((v, i) => {
      const [a, b] = [r[Math.floor(i / length)], c[i % length]];
      return (a > 0 ? v * a + Math.exp(b) : b - v) * Math.exp(s[0]);
    });
    assert.ok(relativeError(y, wanted) < 1e-6);
  });
}

test("evaluate() runs kernels that load nothing from a value of their graph, such as a padded empty slice", async () => {
  const [x, y] = [[1, 2, 3, 4], [5, 6, 7, 8]].map((row) => tensor(row, { shape: [1, 4] }));
  const zero = vg.pad(x.slice({ start: [1], end: [1] }), { before: [1, 0], after: [0, 0] });
  assert.equal(await zero.add(y).data(), Float32Array.of(5, 6, 7, 8));
  assert.is(await zero.sub(y).abs().sum().item(), 26);
  const [image, bias] = [y, zero].map((each) => each.reshape({ shape: [1, 1, 1, 1, 4] }));
  const filtered = vg.conv3d(image, vg.full([1, 1, 1, 1, 1], 2)).add(bias);
  assert.equal(await filtered.data(), Float32Array.of(10, 12, 14, 16));
});

test.after(vg.closeDevice);
test("schedule() binds no more buffers than the adapter has where a sum and its epilogue read the same", async () => {
  const values = Array.from({ length: 6 }, (_, k) => noise(10, k + 20));
  const inputs = values.map((x) => tensor(x, { shape: [5, 2] }));
  await vg.evaluate(inputs);
  const first = (x: Tensor): Tensor => x.slice({ end: [5, 1] }).reshape({ shape: [5] });
  const total = inputs.reduce((product, x) => product.mul(x)).sum({ axes: [1] });
  const out = inputs.reduce((result, x, k) => result.add(first(x).mul(k + 2)), total);
  const { target } = await device();
  for (let buffers = 4; buffers <= 16; buffers++) {
    const small = { ...target, maxStorageBuffers: buffers };
    const steps = singleSteps(planProgram(lower([out], small), small).schedule.steps);
    for (const { reads, writes } of steps) assert.ok(reads.length + writes.length <= buffers, `${buffers} buffers`);
  }
  const product = (at: number): number => values.reduce((sofar, x) => sofar * x[at], 1);
  const weighted = (at: number): number => values.reduce((sum, x, k) => sum + x[at] * (k + 2), 0);
  const wanted = Array.from({ length: 5 }, (_, i) => product(2 * i) + product(2 * i + 1) + weighted(2 * i));
  assert.ok(relativeError(await out.data(), wanted) < 1e-5);
});

test("schedule() gives a sum whose epilogue reads 40 tensors WGSL that compiles", async () => {
  // As many buffers as some adapters bind; a module compiles on those that bind fewer too.
  const many = Array.from({ length: 40 }, (_, k) => tensor(noise(5, k), { shape: [5] }));
  await vg.evaluate(many);
  const out = many.reduce((result, x) => result.add(x), tensor(noise(10, 50), { shape: [5, 2] }).sum({ axes: [1] }));
  const { target, gpu } = await device();
  const large = { ...target, maxStorageBuffers: 64 };
  const steps = singleSteps(planProgram(lower([out], large), large).schedule.steps);
  assert.is(steps.length, 1);
  assert.ok(steps[0].reads.length > 40);
  const info = await gpu.createShaderModule({ code: steps[0].kernel.source() }).getCompilationInfo();
  assert.equal(info.messages.map(({ message }) => message), []);
});

test.run();
