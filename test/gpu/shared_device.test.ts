/** A device that a page has opened for itself, and the host, which the engine leaves as they are. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { bufferUsage, mapMode } from "../../engine/gpu/flags.ts";
import type { Storage } from "../../engine/gpu/mod.ts";
import { platform } from "../../engine/platform/node.ts";
import { noise } from "../helpers/noise.ts";
import { failure, message, refuses } from "../helpers/refuse.ts";

const before = { globals: new Set(Object.getOwnPropertyNames(globalThis)), environment: { ...process.env } };
test.before.each(vg.closeDevice);
test.after(vg.closeDevice);

async function ownDevice(): Promise<{ gpu: GPUDevice; taken: string[] }> {
  const { adapter } = await platform.openAdapter();
  const gpu = await adapter.requestDevice();
  const taken: string[] = [];
  gpu.onuncapturederror = ({ error }) => void taken.push(error.message);
  return { gpu, taken };
}

/** What a page does with its device. */
async function use(gpu: GPUDevice): Promise<number[]> {
  const usage = bufferUsage.COPY_DST | bufferUsage.MAP_READ;
  const buffer = gpu.createBuffer({ size: 8, usage });
  gpu.queue.writeBuffer(buffer, 0, Float32Array.of(3, 4));
  await buffer.mapAsync(mapMode.READ);
  return [...new Float32Array(buffer.getMappedRange())];
}

test("openDevice({ device }) computes on a device of the caller", async () => {
  const { gpu } = await ownDevice();
  const info = await vg.openDevice({ device: gpu });
  assert.is(info.kind, "software");
  assert.match(info.name, /swiftshader|llvmpipe/i);
  assert.is(info.limits.maxBufferSize, gpu.limits.maxBufferSize);
  assert.equal(info.features, [...gpu.features].sort());
  const x = vg.tensor(noise(64 * 64), { shape: [64, 64] });
  const there = await vg.matmul(x, x).sum().item();
  await vg.closeDevice();
  gpu.destroy();
  await vg.openDevice();
  const here = await vg.matmul(
    vg.tensor(noise(64 * 64), { shape: [64, 64] }),
    vg.tensor(noise(64 * 64), { shape: [64, 64] }),
  ).sum().item();
  assert.ok(Math.abs(there - here) < 1e-3 * Math.abs(here));
});

test("closeDevice() frees the engine's buffers on a device of the caller, and leaves it open", async () => {
  const { gpu } = await ownDevice();
  const made: GPUBuffer[] = [];
  const destroyed = new Set<GPUBuffer>();
  const create = gpu.createBuffer.bind(gpu);
  gpu.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      destroyed.add(buffer);
      return destroy();
    };
    made.push(buffer);
    return buffer;
  };
  for (let k = 0; k < 2; k++) {
    await vg.openDevice({ device: gpu });
    const kept = await vg.evaluate(vg.ones([1000]).mul(2));
    const compiled = vg.compile((x: vg.Tensor) =>
      vg.matmul(x.reshape({ shape: [10, 100] }), vg.ones([100, 3])).tanh().sum()
    );
    await (await compiled(kept)).item();
    await vg.closeDevice();
    const { storage } = kept.source as unknown as { storage: Storage };
    assert.throws(() => storage.checkAlive("kept"), /kept lay on a device that was closed/);
    assert.equal([made.length > 3, made.filter((buffer) => !destroyed.has(buffer)).length], [true, 0]);
    assert.is(vg.memoryStats().live, 0);
  }
  gpu.createBuffer = create;
  assert.equal(await use(gpu), [3, 4]);
  gpu.destroy();
});

test("openDevice({ device }) leaves the errors of others to them, and throws its own", async () => {
  const { gpu, taken } = await ownDevice();
  const handler = gpu.onuncapturederror;
  await vg.openDevice({ device: gpu });
  assert.is(gpu.onuncapturederror, handler);
  const x = await vg.evaluate(vg.ones([100]).mul(7));
  gpu.createBuffer({ size: 4, usage: bufferUsage.MAP_READ | bufferUsage.STORAGE });
  for (let k = 0; k < 20 && taken.length === 0; k++) assert.is((await x.data())[0], 7);
  assert.is(taken.length, 1, "the page's error is the page's");
  (x.source as unknown as { storage: Storage }).storage.buffer.destroy();
  assert.match(await message(() => x.add(1).data()), /the GPU refused the kernel add/);
  assert.is(taken.length, 1, "and not the engine's");
  gpu.destroy();
});

test("openDevice({ device }) tells when it is lost, and the next use opens another", async () => {
  const { gpu } = await ownDevice();
  await vg.openDevice({ device: gpu });
  const x = await vg.evaluate(vg.ones([100]).mul(7));
  gpu.destroy();
  assert.instance(await failure(() => x.add(1).data()), vg.DeviceLostError);
  assert.is(await vg.ones([3]).sum().item(), 3);
});

test("openDevice({ device }) refuses other values, and options that choose a device", async () => {
  const { gpu } = await ownDevice();
  await refuses(() => vg.openDevice({ device: {} as GPUDevice }), /device is a GPUDevice, got \{\}/);
  await refuses(
    () => vg.openDevice({ device: gpu, software: true }),
    /software chooses a device, and device gives one/,
  );
  gpu.destroy();
});

test("openDevice() adds no globals, and leaves the environment as it was", async () => {
  await vg.openDevice();
  await vg.ones([3]).sum().item();
  const added = Object.getOwnPropertyNames(globalThis).filter((name) => !before.globals.has(name));
  assert.equal(added, []);
  assert.equal({ ...process.env }, before.environment);
});

test.run();
