/** Device memory: exact-size pools, counted storage, upload and read back. */
import { allocate, BYTES_PER_ELEMENT, type DType, type TypedArray } from "../core/dtype.ts";
import { VoxgradError } from "../core/errors.ts";
import type { DeviceStorage } from "../core/tensor.ts";
import { type Device, onClose } from "./device.ts";

/** Free buffers kept for reuse, in bytes; more is given back to the driver. */
const POOL_LIMIT = 256 * 2 ** 20;

const free = new Map<number, GPUBuffer[]>();
const stats = { live: 0, pooled: 0, peak: 0, arena: 0, allocations: 0 };
onClose(() => {
  free.clear();
  Object.assign(stats, { live: 0, pooled: 0, peak: 0, arena: 0, allocations: 0 });
});

/** Bytes of device memory held by the engine. */
export interface MemoryStats {
  /** In tensors and programs that are alive. */
  readonly live: number;
  /** Of those, in the arenas of compiled programs. */
  readonly arena: number;
  /** Free, kept for reuse. */
  readonly pooled: number;
  /** The most that live and pooled ever came to. */
  readonly peak: number;
  /** Buffers ever asked of the driver. */
  readonly allocations: number;
}

/** Device memory in use, in bytes. */
export const memoryStats = (): MemoryStats => ({ ...stats });

/** What a tensor of `elements` takes: at least one element, since empty bindings are not allowed. */
export const bytesOf = (elements: number): number => Math.max(1, elements) * BYTES_PER_ELEMENT;

export function allocateBuffer(device: Device, bytes: number, label: string): GPUBuffer {
  const list = free.get(bytes);
  const reused = list?.pop();
  if (reused) {
    stats.pooled -= bytes;
    stats.live += bytes;
    return reused;
  }
  const limit = Math.min(device.gpu.limits.maxBufferSize, device.target.maxBindingBytes);
  if (bytes > limit) {
    throw new VoxgradError(
      `${label}: needs ${bytes} bytes in one buffer, the adapter binds at most ${limit}; use a smaller batch, patch or width`,
    );
  }
  const buffer = device.gpu.createBuffer({
    size: bytes,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });
  stats.allocations++;
  stats.live += bytes;
  stats.peak = Math.max(stats.peak, stats.live + stats.pooled);
  return buffer;
}

export function releaseBuffer(buffer: GPUBuffer): void {
  const bytes = buffer.size;
  stats.live -= bytes;
  if (stats.pooled + bytes > POOL_LIMIT) return buffer.destroy();
  stats.pooled += bytes;
  const list = free.get(bytes);
  if (list) list.push(buffer);
  else free.set(bytes, [buffer]);
}

export const countArena = (bytes: number): void => {
  stats.arena += bytes;
};

/** A buffer with an owner count. Submissions run in order, so a buffer may be reused as soon as its last reader is submitted. */
export class Storage implements DeviceStorage {
  readonly buffer: GPUBuffer;
  #owners = 1;

  constructor(buffer: GPUBuffer) {
    this.buffer = buffer;
  }

  /** Whether more than one tensor shows this memory. */
  get shared(): boolean {
    return this.#owners > 1;
  }

  retain(): this {
    this.#owners++;
    return this;
  }

  release(): void {
    if (--this.#owners === 0) releaseBuffer(this.buffer);
  }
}

const words = (data: TypedArray): Exclude<TypedArray, Uint8Array> =>
  data instanceof Uint8Array ? Uint32Array.from(data) : data;

/** Writes host values into a buffer; bool widens to u32. */
export function writeBuffer(device: Device, buffer: GPUBuffer, data: TypedArray): void {
  const source = words(data);
  if (source.length > 0)
    device.gpu.queue.writeBuffer(buffer, 0, source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
}

export function upload(device: Device, data: TypedArray, label: string): Storage {
  const buffer = allocateBuffer(device, bytesOf(data.length), label);
  writeBuffer(device, buffer, data);
  return new Storage(buffer);
}

const staging = new Map<number, GPUBuffer[]>();
onClose(() => staging.clear());

/** Copies `elements` values to the host, after all that was submitted before. */
export async function readBuffer(
  device: Device,
  buffer: GPUBuffer,
  dtype: DType,
  elements: number,
): Promise<TypedArray> {
  if (elements === 0) return allocate(dtype, 0);
  const bytes = elements * BYTES_PER_ELEMENT;
  // Few sizes are read again and again: scalars and predictions. Large staging buffers are not kept.
  const target =
    staging.get(bytes)?.pop() ??
    device.gpu.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      label: "read back",
    });
  const encoder = device.gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, target, 0, bytes);
  device.gpu.queue.submit([encoder.finish()]);
  await target.mapAsync(GPUMapMode.READ);
  const copy = target.getMappedRange().slice(0);
  target.unmap();
  if (bytes <= 2 ** 16) staging.set(bytes, [...(staging.get(bytes) ?? []), target].slice(0, 4));
  else target.destroy();
  device.check();
  switch (dtype) {
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
