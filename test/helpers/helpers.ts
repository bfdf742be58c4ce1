/** Shared by tests: golden files, comparison, a seeded source of numbers. */
import { readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { type Shape, Tensor, tensor, VoxgradError } from "../../engine/mod.ts";

export interface Stored {
  readonly shape: number[];
  readonly data: Float32Array | Int32Array;
}

const folder = new URL("../golden/", import.meta.url);

export const goldenJson = (name: string): any => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));

/** Tensors of a golden file; read here and not by the engine's own reader. */
export function goldenTensors(name: string): (key: string) => Stored {
  const bytes = readFileSync(new URL(`${name}.safetensors`, folder));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8"));
  return (key) => {
    const entry = header[key];
    if (!entry) throw new Error(`${name}.safetensors has no ${key}`);
    const [from, to] = entry.data_offsets as [number, number];
    const copy = new Uint8Array(bytes.subarray(8 + length + from, 8 + length + to)).buffer;
    return { shape: entry.shape, data: entry.dtype === "F32" ? new Float32Array(copy) : new Int32Array(copy) };
  };
}

export const toTensor = (stored: Stored): Tensor => tensor(stored.data, { shape: stored.shape });

/** Largest difference over the largest magnitude of the reference. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let worst = 0;
  let scale = 0;
  for (let k = 0; k < wanted.length; k++) {
    scale = Math.max(scale, Math.abs(wanted[k]));
    const difference = Math.abs(got[k] - wanted[k]);
    // NaN must not compare as small.
    worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
  }
  return worst / (scale || 1);
}

export async function assertClose(
  got: Tensor,
  wanted: { shape: Shape; data: ArrayLike<number> },
  tolerance: number,
  what: string,
): Promise<void> {
  assert.equal([...got.shape], [...wanted.shape], `${what}: shape`);
  const data = await got.data();
  assert.is(data.length, wanted.data.length, `${what}: length`);
  const error = relativeError(data, wanted.data);
  assert.ok(error <= tolerance, `${what}: relative error ${error.toExponential(2)} above ${tolerance}`);
}

/** Numbers that look random, the same everywhere: a 32-bit mixer of seed and position. */
export function noise(count: number, seed = 1): Float32Array {
  return Float32Array.from({ length: count }, (_, k) => {
    let h = Math.imul(k + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    return ((h ^ (h >>> 16)) >>> 0) / 2 ** 31 - 1;
  });
}

/** The message of the error that a call is refused with. */
export async function message(f: () => unknown): Promise<string> {
  try {
    await f();
  } catch (error) {
    assert.ok(error instanceof VoxgradError, (error as Error).stack ?? String(error));
    return error.message;
  }
  return assert.unreachable("expected an error") as never;
}
