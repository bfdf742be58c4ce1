// deno-lint-ignore-file no-explicit-any
/** Files of reference numbers below test/golden. */
import { readFileSync } from "node:fs";
import { type Tensor, tensor } from "../../engine/mod.ts";

export interface Stored {
  readonly shape: number[];
  readonly data: Float32Array | Int32Array;
}

const folder = new URL("../golden/", import.meta.url);

export const goldenJson = (name: string): any => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));

/** Tensors of a golden file; parsed here, independently of the engine's reader. */
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
