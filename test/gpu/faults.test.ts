/**
 * A device that goes away or refuses work: clear rejections, an engine that goes on, and training that goes on with it.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { compile, evaluate, ones, Tensor, tensor } from "../../engine/mod.ts";
import * as train from "../../engine/train/mod.ts";
import { call, u32 } from "../../engine/core/expr.ts";
import { node } from "../../engine/core/tensor.ts";
import { device, type Storage } from "../../engine/gpu/mod.ts";
import { bufferUsage } from "../../engine/gpu/flags.ts";
import { noise } from "../helpers/noise.ts";
import { failure } from "../helpers/refuse.ts";

/** The memory of an evaluated tensor. */
const bufferOf = (t: Tensor): GPUBuffer => {
  assert.is(t.source.kind, "device");
  return ((t.source as { storage: unknown }).storage as Storage).buffer;
};

async function destroy(): Promise<void> {
  (await device()).gpu.destroy();
}

const square = (n = 64): Tensor => tensor(noise(n * n, 1), { shape: [n, n] });

test.before.each(vg.closeDevice);

test("data() rejects with the kernel's name when the device is destroyed between submission and read", async () => {
  const y = vg.matmul(square(), square());
  await evaluate(y);
  await destroy();
  const error = await failure(() => y.data());
  assert.instance(error, vg.DeviceLostError);
  assert.match(error.message, /^the GPU device was lost with .*matmul.* under way .*load the last state/);
});

test("compile() names the kernels when the device is destroyed during a step", async () => {
  const step = compile((x: Tensor) => vg.softmax(vg.matmul(x, x)).sum());
  await (await step(square())).item();
  const y = await step(square());
  const reading = failure(() => y.item());
  await destroy();
  const error = await reading;
  assert.instance(error, vg.DeviceLostError);
  assert.match(error.message, /a program of \d+ kernels \(matmul/);
});

test("data() rejects or is right when the device is destroyed during a read", async () => {
  const data = noise(100_000, 3);
  const x = await evaluate(tensor(data).add(0));
  const reading = x.data();
  await destroy();
  try {
    assert.equal(await reading, data);
  } catch (error) {
    assert.instance(error, vg.DeviceLostError);
  }
  assert.instance(await failure(() => x.data()), vg.DeviceLostError);
});

test("compile() recompiles after the device was destroyed during its first run", async () => {
  const f = compile((x: Tensor) =>
    vg
      .matmul(x, x)
      .tanh()
      .sum({ axes: [0] })
  );
  await device();
  const first = f(square()).then((y) => y.data());
  const told = failure(() => first);
  await destroy();
  assert.instance(await told, vg.DeviceLostError);
  const again = await (await f(square())).data();
  const wanted = await vg
    .matmul(square(), square())
    .tanh()
    .sum({ axes: [0] })
    .data();
  assert.equal(again, wanted);
  assert.is(f.programs().length, 1);
});

test("openDevice() reopens a device that is lost again and again, without a lost message", async () => {
  for (let k = 1; k <= 3; k++) {
    const y = await evaluate(ones([100]).mul(k));
    assert.is(await y.sum().item(), 100 * k);
    await destroy();
    assert.instance(await failure(() => y.data()), vg.DeviceLostError);
    assert.is(vg.memoryStats().live, 0);
  }
});

test("data() and other uses throw on tensors of a lost or closed device", async () => {
  const f = compile((x: Tensor) => x.add(1));
  const stale = await evaluate(ones([3]).mul(2));
  const host = tensor([1, 2, 3]);
  const lazy = stale.mul(2);
  await host.add(1).data();
  await destroy();
  for (const use of [() => stale.data(), () => stale.add(1).data(), () => lazy.data(), () => f(stale)]) {
    assert.instance(await failure(use), vg.DeviceLostError);
  }
  assert.equal([...(await host.add(1).data())], [2, 3, 4], "host values outlive the device");
  stale.dispose();
  const closed = await evaluate(ones([3]).mul(2));
  await vg.closeDevice();
  assert.match(
    (await failure(() => closed.add(1).data())).message,
    /Tensor\(f32\[3\]\) lay on a device that was closed/,
  );
  closed.dispose();
  assert.is(vg.memoryStats().live, 0, "memory of another device is not counted");
});

/** A run of trainLoop whose device is destroyed at certain steps: losses, steps recorded, parameters at the end. */
async function training(kill: number[], keepState = true): Promise<readonly number[][]> {
  let w = ones([2, 1, 3, 3]).mul(0.1);
  let m = vg.zeros([2, 1, 3, 3]);
  const loss = (v: Tensor, x: Tensor): Tensor => vg.conv2d(x, v).tanh().sub(1).square().mean();
  const step = compile(
    (v: Tensor, velocity: Tensor, x: Tensor, rate: Tensor): [Tensor, Tensor, Tensor] => {
      const [value, g] = vg.valueAndGrad(loss)(v, x);
      const next = velocity.mul(0.9).add(g);
      return [v.sub(next.mul(rate)), next, value];
    },
    { donate: [0, 1] },
  );
  const left = [...kill];
  const seen: number[] = [];
  const records = await train.trainLoop<Tensor>({
    steps: 20,
    classes: [],
    rate: (k) => 0.1 / k,
    batch: (k) => vg.random.normal(vg.random.key(k), { shape: [1, 1, 8, 8] }),
    async step(x, rate, k) {
      const running = step(w, m, x, rate);
      if (left[0] === k) {
        left.shift();
        // Before the loss is read: a device lost after the last read is not the loop's to see.
        running.catch(() => undefined);
        await destroy();
      }
      let value: Tensor;
      [w, m, value] = await running;
      return value.reshape({ shape: [1] });
    },
    record: ({ step: k }) => void seen.push(k),
    ...(keepState
      ? { state: { every: 6, read: () => [w, m], write: (state: Tensor[]) => ([w, m] = state as [Tensor, Tensor]) } }
      : {}),
  });
  return [records.map((r) => r.loss), seen, [...(await w.data())]];
}

test("trainLoop() with state continues after lost devices with the same bits", async () => {
  const wanted = await training([]);
  assert.equal(
    wanted[1],
    Array.from({ length: 20 }, (_, k) => k + 1),
  );
  await vg.closeDevice();
  assert.equal(await training([3, 9, 9, 20]), wanted);
});

test("trainLoop() throws the loss without state, or when the device is lost at once each time", async () => {
  assert.instance(await failure(() => training([3], false)), vg.DeviceLostError);
  assert.instance(await failure(() => training([3, 2, 1, 1, 1, 1, 1, 1])), vg.DeviceLostError);
});

test("data() rejects a refused submission with the kernel's name, and the engine continues", async () => {
  const y = await evaluate(ones([1000]).mul(3));
  bufferOf(y).destroy();
  const error = await failure(() => y.add(1).sqrt().data());
  assert.match(error.message, /^the GPU refused the kernel sqrt\+add: .*destroyed/s);
  const compiled = compile((x: Tensor) => [x.sum(), vg.matmul(x.reshape({ shape: [1, 1000] }), ones([1000, 1]))]);
  assert.match((await failure(() => compiled(y))).message, /^the GPU refused the kernel (sum|matmul)/);
  const run = async (x: Tensor): Promise<number> => (await compiled(x))[0].item();
  assert.is(await run(ones([1000])), 1000);
  const again = await evaluate(ones([1000]).mul(3));
  bufferOf(again).destroy();
  assert.match(
    (await failure(() => run(again))).message,
    /the GPU refused the kernel/,
    "of a program that ran before",
  );
  assert.is(await run(ones([1000])), 1000);
});

test("evaluate() that fails releases all of its memory", async () => {
  await vg.openDevice({ memoryLimit: 1.1e5 });
  const x = await evaluate(ones([1000]).mul(2));
  const step = compile((v: Tensor) => [
    v.mul(2),
    vg.matmul(v.reshape({ shape: [500, 2] }), v.reshape({ shape: [2, 500] })).sum(),
  ]);
  const before = vg.memoryStats().live;
  assert.match((await failure(() => step(x))).message, /matmul \[1, 500, 500\]: its program needs/);
  assert.is(vg.memoryStats().live, before);
  // A program that was built when there was room.
  const draw = async (): Promise<number> => {
    const y = vg.softmax(vg.random.uniform(vg.random.key(1), { shape: [8000] }));
    const { length } = await y.data();
    y.dispose();
    return length;
  };
  assert.is(await draw(), 8000);
  const filler = await evaluate(ones([20_000]).add(0));
  const full = vg.memoryStats().live;
  assert.match((await failure(draw)).message, /: needs \d+ bytes besides the \d+ in use, the limit is 110000/);
  assert.is(vg.memoryStats().live, full);
  filler.dispose();
  assert.is(await draw(), 8000);
  // And one whose submission is refused.
  const broken = await evaluate(ones([100]).add(0));
  bufferOf(broken).destroy();
  const held = vg.memoryStats().live;
  await failure(() => vg.softmax(broken).data());
  assert.is(vg.memoryStats().live, held);
});

test("data() rejects once with errors outside of any scope", async () => {
  const x = await evaluate(ones([3]).mul(7));
  const { gpu } = await device();
  gpu.createBuffer({ size: 4, usage: bufferUsage.MAP_READ | bufferUsage.STORAGE });
  const error = await failure(async () => {
    for (let k = 0; k < 50; k++) await x.data();
  });
  assert.match(error.message, /^the GPU reported, after the kernel mul: /);
  assert.equal([...(await x.data())], [7, 7, 7]);
});

test("evaluate() throws a compile error with the kernel's name and line, which others do not see", async () => {
  const lowering = { kind: "map", cost: 1, emit: () => call("nonsense", u32(1)) } as const;
  const broken = node({ name: "broken", lowering, vjp: null }, [], {}, [3], "f32");
  const [bad, good] = await Promise.allSettled([broken.data(), ones([3]).sum().item()]);
  assert.is(good.status === "fulfilled" && good.value, 3);
  const message = bad.status === "rejected" ? (bad.reason as Error).message : "";
  assert.match(message, /^broken: the kernel does not compile here: \d+:\d+ .*nonsense/s);
});

test("evaluate() keeps the values of arguments disposed while it waits", async () => {
  const n = 4096;
  const slow = square(160);
  for (let turns = 0; turns < 24; turns++) {
    const x = await evaluate(ones([n]).mul(turns + 1));
    // Two submissions under way: what comes next waits.
    for (let k = 0; k < 3; k++) void evaluate(vg.matmul(slow, slow).mul(k));
    const reading = x.mul(2).data();
    for (let turn = 0; turn < turns; turn++) await null;
    x.dispose();
    // Takes the memory of x as soon as it is free.
    const other = evaluate([tensor(noise(n, turns))]).then(([t]) => t.add(1).data());
    const [result] = await Promise.allSettled([reading, other]);
    if (result.status === "rejected") assert.match(result.reason.message, /was disposed of/);
    else {
      assert.ok(
        result.value.every((v) => v === 2 * (turns + 1)),
        `${turns} turns: ${result.value[0]}`,
      );
    }
  }
});

test.after(vg.closeDevice);
test.run();
