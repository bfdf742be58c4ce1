// deno-lint-ignore-file no-explicit-any
/** Device memory: counted to the byte, given back, flat over many steps; caches that stay small over many shapes. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { compile, evaluate, memoryStats, ones, Tensor, tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { pipelineCount } from "../../engine/gpu/mod.ts";
import { noise } from "../helpers/noise.ts";
import { message } from "../helpers/refuse.ts";

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");
/** Lets finalizers run on what is no longer reachable. */
async function settle(): Promise<void> {
  for (let k = 0; k < 3; k++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test.before.each(vg.closeDevice);

test("memoryStats() gives live, pooled and peak bytes of a known sequence", async () => {
  const at = (): number[] => {
    const { live, arena, pooled, peak } = memoryStats();
    return [live, arena, pooled, peak];
  };
  assert.equal(at(), [0, 0, 0, 0]);
  const a = await evaluate(ones([250]).mul(2));
  assert.equal(at(), [1000, 0, 0, 1000]);
  const b = await evaluate(a.add(1));
  assert.equal(at(), [2000, 0, 0, 2000]);
  a.dispose();
  assert.equal(at(), [1000, 0, 1000, 2000], "free memory is kept");
  const c = await evaluate(b.mul(2));
  assert.equal(at(), [2000, 0, 0, 2000], "and used again for the same size");
  const d = await evaluate(c.reshape({ shape: [10, 25] }));
  assert.equal(at(), [2000, 0, 0, 2000], "a view shares memory");
  c.dispose();
  assert.equal(at(), [2000, 0, 0, 2000], "which lives as long as one of them");
  assert.is((await d.data())[0], 6);
  d.dispose();
  b.dispose();
  assert.equal(at(), [0, 0, 2000, 2000]);
  const [e, f] = await evaluate([ones([2]).greater(0), tensor([1, 2, 3], { dtype: "i32" }).add(1)]);
  assert.is(memoryStats().live, 8 + 12, "a truth value takes a word");
  e.dispose();
  f.dispose();
});

test("memoryStats() counts the arena of compiled programs, and temporaries of others come back at once", async () => {
  const f = (x: Tensor): Tensor => vg.matmul(vg.matmul(x, x), x).sum();
  const x = await evaluate(ones([16, 16]).mul(0.1));
  const y = await evaluate(f(x));
  assert.is(memoryStats().live, 1024 + 4);
  assert.is(memoryStats().arena, 0);
  const compiled = compile(f);
  const plan = await compiled.plan(x);
  assert.ok(plan.arenaBytes >= 2048);
  assert.is(memoryStats().arena, plan.arenaBytes);
  const z = await compiled(x);
  assert.is(memoryStats().live, 1024 + 4 + 4 + plan.arenaBytes);
  assert.is(await z.item(), await y.item());
  compiled.dispose();
  assert.is(memoryStats().arena, 0);
  assert.is(memoryStats().live, 1024 + 8);
  assert.is(await (await compiled(x)).item(), await y.item(), "a disposed function compiles again");
});

test("dispose() and [Symbol.dispose]() give memory back once, whatever the tensor is", async () => {
  const x = await evaluate(ones([100]).mul(2));
  x.dispose();
  x.dispose();
  assert.is(memoryStats().live, 0);
  const y = await evaluate(ones([100]).mul(2));
  y[Symbol.dispose]();
  assert.is(memoryStats().live, 0);
  const lazy = ones([3]).add(1);
  lazy.dispose();
  const host = tensor([1, 2]);
  host.dispose();
  for (const t of [x, y, lazy, host]) {
    assert.match(
      await message(() => t.data()),
      /^evaluate: Tensor\(.*\) was disposed of; keep a tensor until its last use/,
    );
    assert.match(await message(() => t.add(1)), /^add: an input was disposed of/);
    assert.match(await message(() => compile((v: Tensor) => v.mul(2))(t)), /was disposed of/);
  }
  const z = ones([3]).mul(2);
  const pending = z.data();
  assert.equal([...(await pending)], [2, 2, 2]);
  z.dispose();
  assert.is(memoryStats().live, 0);
});

test("memoryStats() falls when tensors become unreachable", async () => {
  await (async () => {
    const held: Tensor[] = [];
    for (let k = 0; k < 40; k++) held.push(await evaluate(ones([1000 + k]).mul(k)));
    assert.is(memoryStats().live, 4 * held.reduce((sum, t) => sum + t.size, 0));
  })();
  await settle();
  assert.is(memoryStats().live, 0);
});

const sizes = { first: [4, 1, 3, 3], last: [2, 4, 1, 1] };
const optimizer = nn.adam();
const lossOf = (p: any, x: Tensor, labels: Tensor): Tensor => {
  const h = vg.relu(vg.groupNorm(vg.conv2d(x, p.first, { padding: 1 }), { groups: 2 }));
  return vg.crossEntropy(vg.conv2d(h, p.last), labels);
};
const update = (p: any, state: any, x: Tensor, labels: Tensor, rate: Tensor | number): [Tensor, any, any] => {
  const [loss, grads] = vg.valueAndGrad(lossOf)(p, x, labels);
  return [loss, ...optimizer.update(grads, state, p, rate)];
};

/** 300 training steps; figures after step 100 and at the end. */
async function train(step: (...args: any[]) => Promise<any>): Promise<vg.MemoryStats[]> {
  let params: any = {
    first: tensor(noise(36, 1), { shape: sizes.first }),
    last: tensor(noise(8, 2), { shape: sizes.last }),
  };
  let state = optimizer.init(params);
  const marks: vg.MemoryStats[] = [];
  for (let k = 1; k <= 300; k++) {
    const x = tensor(noise(2 * 64, k), { shape: [2, 1, 8, 8] });
    const labels = tensor(
      Int32Array.from(noise(2 * 64, k), (v) => Number(v > 0)),
      { shape: [2, 8, 8] },
    );
    let loss: Tensor;
    const before = [params, state];
    [loss, params, state] = await step(params, state, x, labels, 0.01);
    assert.ok(Number.isFinite(await loss.item()));
    loss.dispose();
    for (const t of vg.tree.leaves(before) as Tensor[]) t.dispose();
    if (k === 100 || k === 300) marks.push(memoryStats());
  }
  return marks;
}

test("compile() keeps memory flat over 300 steps", async () => {
  const [early, late] = await train(compile(update, { donate: [0, 1] }));
  assert.equal(late, early);
});

test("evaluate() keeps memory flat over 300 steps without compile", async () => {
  const [early, late] = await train((...args) => evaluate(update(...(args as Parameters<typeof update>))));
  assert.equal(late, early);
});

test("compile() for many shapes keeps the 64 programs used last", async () => {
  let traced = 0;
  const f = compile((x: Tensor) => {
    traced++;
    return vg.matmul(vg.softmax(x.square(), { axis: 0 }), ones([3, 1]));
  });
  const used = async (n: number): Promise<void> => {
    const x = ones([n, 3]);
    (await f(x)).dispose();
    x.dispose();
  };
  for (let n = 1; n <= 100; n++) {
    await used(n);
    // The first is used again and again, so it stays.
    await used(1);
  }
  assert.is(traced, 100);
  const programs = f.programs();
  // Arguments of 12 bytes a row, results of 4.
  const rows = programs.map((p) => (p.peakBytes - p.arenaBytes) / 16);
  assert.equal(rows, [...Array.from({ length: 63 }, (_, k) => 38 + k), 1]);
  const arenas = programs.reduce((sum, p) => sum + p.arenaBytes, 0);
  assert.ok(arenas > 0);
  assert.is(memoryStats().arena, arenas);
  assert.is(memoryStats().live, arenas);
});

test("evaluate() of hundreds of structures and shapes keeps no memory of its own", async () => {
  for (let n = 1; n <= 300; n++) {
    const y = tensor(noise(n, n)).mul(2).sum();
    await y.item();
    y.dispose();
  }
  assert.is(memoryStats().live, 0);
  assert.ok(pipelineCount() <= 900, `${pipelineCount()} pipelines`);
});

test("memoryStats() bounds free memory to 1024 buffers, the sizes used last", async () => {
  const tensors: Tensor[] = [];
  for (let n = 1; n <= 1100; n += 50) {
    tensors.push(...(await evaluate(Array.from({ length: 50 }, (_, k) => ones([n + k]).mul(2)))));
  }
  assert.is(memoryStats().live, (4 * 1100 * 1101) / 2);
  for (const t of tensors) t.dispose();
  assert.is(memoryStats().live, 0);
  assert.is(memoryStats().pooled, (4 * (1100 * 1101 - 76 * 77)) / 2);
});

test("memoryStats() bounds free memory to 256 MiB", async () => {
  const mib = 2 ** 18;
  const tensors = await evaluate(Array.from({ length: 5 }, (_, k) => vg.zeros([(60 + k) * mib]).add(0)));
  for (const t of tensors) t.dispose();
  assert.is(memoryStats().live, 0);
  assert.is(memoryStats().pooled, (61 + 62 + 63 + 64) * 2 ** 20);
});

test.after(vg.closeDevice);
test.run();
