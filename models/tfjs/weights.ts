/** The weights of a TensorFlow.js model: the manifest of model.json and the bytes of its files. */
import { check, isPlain, listed, show } from "../../engine/mod.ts";
import { fromHalf } from "../../engine/segmenting.ts";
import { UnsupportedOnnx } from "../onnx/file/values.ts";

/** A weight, channels last as the file has it. */
export interface LayerWeight {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

interface Entry {
  readonly name: string;
  readonly shape: readonly number[];
  /** Bytes of a value as it is stored, and how one is read. */
  readonly size: number;
  readonly read: (view: DataView, at: number) => number;
}

/** Files that belong together: their bytes one after the other hold the weights one after the other. */
export interface WeightGroup {
  readonly paths: readonly string[];
  readonly entries: readonly Entry[];
}

const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
const isNumber = (n: unknown): n is number => typeof n === "number" && Number.isFinite(n);
const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

const STORED: Readonly<Record<string, readonly [number, (view: DataView, at: number) => number]>> = {
  float32: [4, (v, at) => v.getFloat32(at, true)],
  int32: [4, (v, at) => v.getInt32(at, true)],
  uint8: [1, (v, at) => v.getUint8(at)],
  uint16: [2, (v, at) => v.getUint16(at, true)],
  float16: [2, (v, at) => fromHalf(v.getUint16(at, true))],
};

/** Says of a file what is wrong with it. */
export type Refuse = (problem: string) => never;

function entryOf(json: unknown, place: string, file: string, refuse: Refuse): Entry {
  if (!isPlain(json)) return refuse(`${place} is ${show(json)}; wanted an object`);
  const { name, shape, dtype, quantization } = json;
  if (typeof name !== "string") return refuse(`${place}.name is ${show(name)}; wanted a string`);
  const sizes = Array.isArray(shape) && shape.every(isCount) ? shape as number[] : undefined;
  if (!sizes || !isCount(elements(sizes))) return refuse(`the weight ${show(name)} has the shape ${show(shape)}`);
  if (dtype !== "float32" && dtype !== "int32") throw new UnsupportedOnnx(`weights of type ${show(dtype)}`, file);
  if (quantization === undefined) {
    const [size, read] = STORED[dtype];
    return { name, shape: sizes, size, read };
  }
  if (!isPlain(quantization)) return refuse(`the quantization of ${show(name)} is ${show(quantization)}`);
  const { dtype: stored, scale, min } = quantization;
  if (stored === "float16") return { name, shape: sizes, size: 2, read: STORED.float16[1] };
  if (stored !== "uint8" && stored !== "uint16") {
    return refuse(`the weight ${show(name)} is quantized to ${show(stored)}; wanted uint8, uint16 or float16`);
  }
  if (!isNumber(scale) || !isNumber(min)) {
    return refuse(`the quantization of ${show(name)} has scale ${show(scale)} and min ${show(min)}; wanted numbers`);
  }
  const [size, read] = STORED[stored];
  const round = dtype === "int32" ? Math.round : (x: number): number => x;
  return { name, shape: sizes, size, read: (view, at) => round(read(view, at) * scale + min) };
}

/** The groups of a manifest. */
export function groupsOf(manifest: unknown, file: string, refuse: Refuse): WeightGroup[] {
  if (!Array.isArray(manifest)) return refuse(`weightsManifest is ${show(manifest)}; wanted a list`);
  return manifest.map((group: unknown, k) => {
    const { paths, weights } = isPlain(group) ? group : {} as Record<string, unknown>;
    if (!Array.isArray(paths) || !paths.every((path) => typeof path === "string") || !Array.isArray(weights)) {
      return refuse(`weightsManifest[${k}] lacks a list of paths or a list of weights`);
    }
    const place = (at: number): string => `weightsManifest[${k}].weights[${at}]`;
    return { paths, entries: weights.map((each: unknown, at) => entryOf(each, place(at), file, refuse)) };
  });
}

/** The weights of a group by name. */
export function weightsOf({ paths, entries }: WeightGroup, files: readonly Uint8Array[]): [string, LayerWeight][] {
  const bytes = new Uint8Array(files.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of files) {
    bytes.set(part, at);
    at += part.length;
  }
  const wanted = entries.reduce((sum, { shape, size }) => sum + elements(shape) * size, 0);
  check(
    bytes.length === wanted,
    "openLayersModel",
    () => `${listed(paths)}: model.json says ${wanted} bytes of weights, got ${bytes.length}; take files of one model`,
  );
  const view = new DataView(bytes.buffer);
  let from = 0;
  return entries.map(({ name, shape, size, read }) => {
    const data = new Float32Array(elements(shape));
    for (let k = 0; k < data.length; k++, from += size) data[k] = read(view, from);
    return [name, { shape, data }];
  });
}
