/** Device memory: exact-size pools, reference-counted storage, upload and readback. */
import { allocate, bytesOf, checkAttached, type DType, fromHalf, toHalf, type TypedArray } from "../core/dtype.ts";
import { VoxgradError } from "../core/errors.ts";
import type { DeviceStorage } from "../core/tensor.ts";
import { checkOpen, type Device, onClose } from "./device.ts";
import { bufferUsage, mapMode } from "./flags.ts";

/** Maximum bytes of free buffers kept for reuse; the rest is returned to the driver. */
const POOL_LIMIT = 256 * 2 ** 20;

/** Maximum number of free buffers. */
const POOL_COUNT = 1024;

/** Free buffers by size; sizes in order of last use. */
const free = new Map<number, GPUBuffer[]>();
let freeCount = 0;
const stats = { live: 0, pooled: 0, peak: 0, arena: 0, allocations: 0 };
/** All buffers but those of read backs: a device that others use too outlives them. */
const made = new Set<GPUBuffer>();
onClose(() => {
  for (const buffer of made) buffer.destroy();
  made.clear();
  free.clear();
  freeCount = 0;
  Object.assign(stats, { live: 0, pooled: 0, peak: 0, arena: 0, allocations: 0 });
});

/** Bytes of device memory held by the engine. */
export interface MemoryStats {
  /** In live tensors and programs. */
  readonly live: number;
  /** The part of `live` in arenas of compiled programs. */
  readonly arena: number;
  /** Free, kept for reuse. */
  readonly pooled: number;
  /** The maximum of live plus pooled so far. */
  readonly peak: number;
  /** Number of buffers requested from the driver so far. */
  readonly allocations: number;
}

/**
 * Device memory in use, in bytes.
 *
 * @example
 * ```ts
 * import { memoryStats } from "voxgrad";
 *
 * const { live, peak } = memoryStats();
 * console.log(`${live} bytes in use, ${peak} at most so far`);
 * ```
 */
export const memoryStats = (): MemoryStats => ({ ...stats });

export function allocateBuffer(device: Device, bytes: number, label: string): GPUBuffer {
  checkOpen(device, () => `${label}: the device was closed before it was computed`);
  const reused = takeFree(bytes);
  if (reused) {
    stats.pooled -= bytes;
    stats.live += bytes;
    return reused;
  }
  const limit = device.gpu.limits.maxBufferSize;
  if (bytes > limit) {
    throw new VoxgradError(
      `${label}: needs ${bytes} bytes in one buffer, the adapter allocates at most ${limit}; use a smaller batch, ` +
        "patch or width",
    );
  }
  makeRoom(device, bytes, () => {
    return `${label}: needs ${bytes} bytes besides the ${stats.live} in use, the limit is ${device.memoryLimit}; ` +
      "use a smaller batch or patch, or dispose of tensors that are no longer needed";
  });
  const buffer = device.gpu.createBuffer({
    size: bytes,
    usage: bufferUsage.STORAGE | bufferUsage.COPY_SRC | bufferUsage.COPY_DST,
  });
  made.add(buffer);
  stats.allocations++;
  stats.live += bytes;
  stats.peak = Math.max(stats.peak, stats.live + stats.pooled);
  return buffer;
}

/** Takes a free buffer of a size from the pool. */
function takeFree(bytes: number): GPUBuffer | undefined {
  const list = free.get(bytes);
  const buffer = list?.pop();
  if (list?.length === 0) free.delete(bytes);
  if (buffer) freeCount--;
  return buffer;
}

export function releaseBuffer(buffer: GPUBuffer): void {
  const bytes = buffer.size;
  stats.live -= bytes;
  if (bytes > POOL_LIMIT) return destroy(buffer);
  const list = free.get(bytes) ?? [];
  list.push(buffer);
  // Marks the size as most recently used; the least recently used are dropped first.
  free.delete(bytes);
  free.set(bytes, list);
  freeCount++;
  stats.pooled += bytes;
  while (stats.pooled > POOL_LIMIT || freeCount > POOL_COUNT) {
    const [oldest] = free.keys();
    destroy(takeFree(oldest)!);
    stats.pooled -= oldest;
  }
}

function destroy(buffer: GPUBuffer): void {
  made.delete(buffer);
  buffer.destroy();
}

/** Returns all free buffers to the driver. */
function drain(): void {
  for (const list of free.values()) list.forEach(destroy);
  free.clear();
  freeCount = 0;
  stats.pooled = 0;
}

/** Throws if an allocation would exceed the memory limit; frees pooled buffers to make room. */
export function makeRoom(device: Device, bytes: number, what: () => string): void {
  if (stats.live + bytes <= device.memoryLimit - stats.pooled) return;
  drain();
  if (stats.live + bytes <= device.memoryLimit) return;
  throw new VoxgradError(what());
}

export const countArena = (bytes: number): void => {
  stats.arena += bytes;
};

/**
 * A reference-counted buffer. Submissions run in order, so a buffer may be reused as soon as its last reader is
 * submitted.
 */
export class Storage implements DeviceStorage {
  readonly buffer: GPUBuffer;
  readonly #device: Device;
  #owners = 1;

  constructor(device: Device, buffer: GPUBuffer) {
    this.#device = device;
    this.buffer = buffer;
  }

  /** Throws if its device was lost or closed. */
  checkAlive(what: string): void {
    checkOpen(this.#device, () => `${what} lay on a device that was closed; load it again from a file or the host`);
  }

  /** Whether more than one tensor uses this memory. */
  get shared(): boolean {
    return this.#owners > 1;
  }

  retain(): this {
    this.#owners++;
    return this;
  }

  release(): void {
    if (--this.#owners === 0 && !this.#device.gone) releaseBuffer(this.buffer);
  }
}

/** Converts host values to their device representation. */
function encode(data: TypedArray, dtype: DType): Float32Array | Int32Array | Uint32Array | Uint16Array {
  if (dtype === "f16") {
    const halves = new Uint16Array(bytesOf(data.length, dtype) / 2);
    data.forEach((value, k) => (halves[k] = toHalf(value)));
    return halves;
  }
  return data instanceof Uint8Array ? Uint32Array.from(data) : data;
}

/** Writes host values into a buffer; bool is widened to u32, f16 is packed. */
export function writeBuffer(device: Device, buffer: GPUBuffer, data: TypedArray, dtype: DType): void {
  checkAttached("tensor", data);
  const source = encode(data, dtype);
  if (source.length > 0) {
    device.gpu.queue.writeBuffer(buffer, 0, source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
  }
}

export function upload(device: Device, data: TypedArray, dtype: DType, label: string): Storage {
  const buffer = allocateBuffer(device, bytesOf(data.length, dtype), label);
  writeBuffer(device, buffer, data, dtype);
  return new Storage(device, buffer);
}

/** Staging buffers for reading back small results, by size, most recently used last. */
const staging = new Map<number, GPUBuffer>();
const STAGING_COUNT = 32;
const STAGING_BYTES = 2 ** 16;
onClose(() => {
  for (const buffer of staging.values()) buffer.destroy();
  staging.clear();
});

function stagingBuffer(device: Device, bytes: number): GPUBuffer {
  const kept = staging.get(bytes);
  staging.delete(bytes);
  const usage = bufferUsage.MAP_READ | bufferUsage.COPY_DST;
  return kept ?? device.gpu.createBuffer({ size: bytes, usage, label: "read back" });
}

function keepStaging(device: Device, buffer: GPUBuffer): void {
  if (device.gone || buffer.size > STAGING_BYTES || staging.has(buffer.size)) return buffer.destroy();
  staging.set(buffer.size, buffer);
  if (staging.size <= STAGING_COUNT) return;
  const [size, oldest] = staging.entries().next().value!;
  staging.delete(size);
  oldest.destroy();
}

/** Copies `elements` values to the host, after everything submitted so far. */
export async function readBuffer(
  device: Device,
  buffer: GPUBuffer,
  dtype: DType,
  elements: number,
): Promise<TypedArray> {
  if (elements === 0) return allocate(dtype, 0);
  const bytes = bytesOf(elements, dtype);
  const target = stagingBuffer(device, bytes);
  device.submit("a read back", () => {
    const encoder = device.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, target, 0, bytes);
    device.gpu.queue.submit([encoder.finish()]);
  });
  let copy: ArrayBuffer;
  try {
    await target.mapAsync(mapMode.READ);
    copy = target.getMappedRange().slice(0);
  } catch (error) {
    await reason(device);
    device.check();
    throw new VoxgradError(`the GPU gave no values back: ${(error as Error).message}`);
  }
  target.unmap();
  await device.settled();
  device.check();
  keepStaging(device, target);
  switch (dtype) {
    case "f16":
      return Float32Array.from(new Uint16Array(copy, 0, elements), fromHalf);
    case "f32":
      return new Float32Array(copy);
    case "i32":
      return new Int32Array(copy);
    case "u32":
      return new Uint32Array(copy);
    case "bool":
      return Uint8Array.from(new Uint32Array(copy));
  }
}

/** Waits for the cause of a failed mapping: device loss may be reported slightly later. */
async function reason(device: Device): Promise<void> {
  const moment = new Promise<void>((resolve) => setTimeout(resolve, 100));
  await Promise.race([device.gpu.lost, moment]);
  await device.settled();
}
