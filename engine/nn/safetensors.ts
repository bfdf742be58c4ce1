/** Reads and writes tensors in the safetensors format. */
import { type FileSource, readSource } from "../platform/sources.ts";
import { type DType, firstNotFinite, toHalf, type TypedArray } from "../core/dtype.ts";
import { check, checkOptions, show, VoxgradError } from "../core/errors.ts";
import {
  checkSeal,
  decodeSafetensors,
  encodeSafetensors,
  encodeSealed,
  type FileDType,
  type FileTensor,
  SafetensorsError,
} from "../core/safetensors.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { evaluate } from "../compile/mod.ts";
import { tensor } from "../ops/elementwise/creation.ts";
import { decoders } from "./safetensors_dtype.ts";

export { SafetensorsError } from "../core/safetensors.ts";

const written: Record<DType, FileDType> = { f16: "F16", f32: "F32", i32: "I32", u32: "U32", bool: "BOOL" };

/**
 * Encodes tensors, named by their paths joined by ".". The output is deterministic for the same tensors in the same
 * order. Four-byte types are written first, then two-byte (f16) and one-byte (bool) types, so that all values are
 * aligned.
 *
 * @param tensors a tree, or a Map from names to tensors
 * @param metadata string pairs for the header
 * @throws SafetensorsError for an empty name, or the reserved name __metadata__
 * @example
 * ```ts
 * import { ones, saveSafetensors } from "voxgrad";
 * import { RunFolder } from "voxgrad/train";
 *
 * const bytes = await saveSafetensors({ conv: { weight: ones([8, 1, 3, 3, 3]) } }, { epoch: "10" });
 * await new RunFolder("runs/mine").write("weights.safetensors", bytes); // holds "conv.weight"
 * ```
 */
export async function saveSafetensors(
  tensors: object,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return encodeSafetensors(await fileTensors(tensors), metadata);
}

/**
 * As saveSafetensors, with the SHA-256 of the file in its header, by which readSafetensors detects damage.
 *
 * @throws SafetensorsError as saveSafetensors
 * @example
 * ```ts
 * import { ones, saveSealed } from "voxgrad";
 * import { RunFolder } from "voxgrad/train";
 *
 * const bytes = await saveSealed({ conv: { weight: ones([8, 1, 3, 3, 3]) } });
 * await new RunFolder("runs/mine").write("weights.safetensors", bytes);
 * ```
 */
export async function saveSealed(
  tensors: object,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return encodeSealed(await fileTensors(tensors), metadata);
}

async function fileTensors(tensors: object): Promise<FileTensor[]> {
  const named: ReadonlyMap<string, Tensor> = tensors instanceof Map ? tensors : tree.flatten(tensors);
  const entries = [...named];
  for (const [name, t] of entries) {
    if (!(t instanceof Tensor)) throw new SafetensorsError(`safetensors: ${show(name)} is not a tensor`);
  }
  await evaluate(entries.map(([, t]) => t));
  return Promise.all(
    entries.map(async ([name, t]) => {
      const values = await t.data();
      const data = t.dtype === "f16" ? Uint16Array.from(values, toHalf) : values;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return { name, dtype: written[t.dtype], shape: t.shape, bytes };
    }),
  );
}

/** The content of a file, in header order. */
export interface LoadedTensors {
  tensors: Map<string, Tensor>;
  metadata: Record<string, string>;
}

/**
 * Decodes a file. F32, I32, U32 and BOOL keep their type; F16, BF16 and F64 become f32; I8, I16, I64 become i32; U8,
 * U16, U64 become u32. A value that the target type cannot represent is an error.
 *
 * @throws SafetensorsError for a truncated file, a malformed header, or tensors that overlap or leave gaps
 * @example
 * ```ts
 * import { loadSafetensors, ones, saveSafetensors } from "voxgrad";
 *
 * const bytes = await saveSafetensors({ conv: { weight: ones([8, 1, 3, 3, 3]) } });
 * const { tensors } = loadSafetensors(bytes);
 * tensors.get("conv.weight")?.shape; // [8, 1, 3, 3, 3]
 * ```
 */
export function loadSafetensors(bytes: Uint8Array): LoadedTensors {
  const content = decodeSafetensors(bytes);
  const tensors = new Map<string, Tensor>();
  for (const { name, dtype, shape, bytes: view } of content.tensors) {
    // A copy, which is also aligned; slice would not copy a Node Buffer.
    const raw = new Uint8Array(view);
    let values: TypedArray;
    try {
      values = decoders[dtype](raw.buffer);
    } catch (error) {
      throw new SafetensorsError(`safetensors: tensor ${show(name)}: ${(error as Error).message}`);
    }
    tensors.set(name, tensor(values, { shape }));
  }
  return { tensors, metadata: content.metadata };
}

/** The content of a file that was read. */
export interface ReadTensors extends LoadedTensors {
  /** Whether the file has a digest in its header; if so, it was verified. */
  readonly sealed: boolean;
  /** The path or the name of the file. */
  readonly name: string;
}

/**
 * Reads the tensors of a file, wherever it is.
 *
 * @throws SafetensorsError as loadSafetensors, with the file's name, and if the file is damaged; PlatformError if it
 *   cannot be read
 * @example
 * ```ts
 * import { readSafetensors } from "voxgrad";
 *
 * const { tensors, metadata, sealed } = await readSafetensors("runs/mine/model.safetensors");
 * ```
 */
export async function readSafetensors(source: FileSource): Promise<ReadTensors> {
  const { bytes, name } = await readSource(source);
  try {
    return { ...loadSafetensors(bytes), sealed: await checkSeal(bytes), name };
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new SafetensorsError(`${name}: ${error.message}`, { cause: error });
  }
}

/**
 * Reads a weights file: as readSafetensors, or the state dict in a checkpoint that torch.save wrote (.pth, .pt), of
 * which nothing is run; and checks that all values are finite.
 *
 * @throws SafetensorsError as readSafetensors, and for NaN or infinity, naming file and tensor; VoxgradError for a
 *   checkpoint that is damaged or holds anything but tensors, numbers, text and plain containers
 * @example
 * ```ts
 * import { loadParameters, random, readWeights } from "voxgrad";
 * import { resNet } from "voxgrad/models";
 *
 * const model = resNet({ block: "basic", layers: [2, 2, 2], width: 16, inputChannels: 1 });
 * const { tensors } = await readWeights("weights.safetensors");
 * const params = loadParameters(model.init(random.key(0)), tensors);
 * ```
 */
export async function readWeights(source: FileSource): Promise<ReadTensors> {
  const read = await readTensors(source);
  for (const [name, t] of read.tensors) {
    const values = await t.data();
    const at = firstNotFinite(values);
    if (at < 0) continue;
    throw new SafetensorsError(
      `${read.name}: tensor ${show(name)} holds ${
        values[at]
      } (element ${at} of ${values.length}), and so would every ` +
        "prediction; take weights that are whole, or train again",
    );
  }
  return read;
}

/** Of PyTorch's files or safetensors. */
async function readTensors(source: FileSource): Promise<ReadTensors> {
  const { bytes, name } = await readSource(source);
  // The pickle with which torch.save began before PyTorch 1.6.
  if (bytes[0] === 0x80 && bytes[2] === 0x8a && bytes[3] === 0x0a) {
    throw new VoxgradError(`${name}: torch.save wrote it as before PyTorch 1.6; load it there and save it again`);
  }
  // A zip.
  if (bytes[0] !== 0x50 || bytes[1] !== 0x4b) return readSafetensors(source);
  const { loadTorch } = await import("./torch_file.ts");
  try {
    return { tensors: loadTorch(bytes), metadata: {}, sealed: false, name };
  } catch (error) {
    throw new VoxgradError(`${name}: ${(error as Error).message}`, { cause: error });
  }
}

/** PyTorch's count of batches seen by a batch norm. It is in every state dict with one, and no result depends on it. */
const COUNTER = /(^|\.)num_batches_tracked$/;

/**
 * Loads parameters into the structure of `template`, matching tensors by name. PyTorch's `num_batches_tracked`
 * counters are ignored.
 *
 * @param options.ignore names in the file to skip. nnU-Net checkpoints store every weight up to three times:
 *   /(^|\.)all_modules\.|^decoder\.encoder\./
 * @throws SafetensorsError that lists missing, unexpected and misshapen tensors by name
 * @example
 * ```ts
 * import { loadParameters, ones, tensor } from "voxgrad";
 *
 * const template = { conv: { weight: ones([2]) } };
 * const params = loadParameters(template, new Map([["conv.weight", tensor([3, 4])]]));
 * ```
 */
export function loadParameters<T>(
  template: T,
  tensors: ReadonlyMap<string, Tensor>,
  options: { ignore?: RegExp } = {},
): T {
  checkOptions("loadParameters", options, ["ignore"]);
  const { ignore } = options;
  check(
    ignore === undefined || (ignore instanceof RegExp && !ignore.global),
    "loadParameters",
    () => "ignore is a regular expression without the flag g",
  );
  const wanted = tree.flatten(template as object);
  const missing = [...wanted.keys()].filter((name) => !tensors.has(name));
  const extra = [...tensors.keys()].filter((name) => !wanted.has(name) && !COUNTER.test(name) && !ignore?.test(name));
  const misshapen = [...wanted].flatMap(([name, t]) => {
    const loaded = tensors.get(name);
    if (!loaded || (sameShape(loaded.shape, t.shape) && loaded.dtype === t.dtype)) return [];
    return [`${name} (${loaded.dtype} ${show(loaded.shape)} for ${t.dtype} ${show(t.shape)})`];
  });
  const list = (what: string, names: string[]): string[] =>
    names.length === 0
      ? []
      : [`${names.length} ${what}: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", ..." : ""}`];
  const problems = [
    ...list("missing", missing),
    ...list("unexpected", extra),
    ...list("of another shape or dtype", misshapen),
  ];
  if (problems.length > 0) {
    throw new SafetensorsError(
      `loadParameters: the tensors do not fit the ${wanted.size} parameters; ${problems.join("; ")}`,
    );
  }
  return tree.map(template, (_, path) => tensors.get(path)) as T;
}

/**
 * Loads parameters for fine-tuning: as loadParameters, but a head for other classes keeps its initial values.
 *
 * @param options.head names of the layers that output the classes: /(^|\.)seg_layers\./ in nnU-Net's networks
 * @param options.reinitialize whether to reinitialize the head even if it fits, for outputs that mean other classes
 * @returns kept: names of the parameters that keep the values of `template` because the file lacks them or has another
 *   shape
 * @throws SafetensorsError as loadParameters, for everything but the head
 * @example
 * ```ts
 * import { loadPretrained, ones, tensor } from "voxgrad";
 *
 * const template = { encoder: ones([2]), seg_layers: { weight: ones([3]) } };
 * const file = new Map([["encoder", tensor([3, 4])], ["seg_layers.weight", tensor([5, 6])]]);
 * const { params, kept } = loadPretrained(template, file, { head: /(^|\.)seg_layers\./ });
 * kept; // ["seg_layers.weight"]: the file has two classes, the network three
 * ```
 */
export function loadPretrained<T>(
  template: T,
  tensors: ReadonlyMap<string, Tensor>,
  options: { ignore?: RegExp; head: RegExp; reinitialize?: boolean },
): { params: T; kept: string[] } {
  const { head, reinitialize = false, ...others } = options;
  const wanted = tree.flatten(template as object);
  const kept = [...wanted].filter(([name, t]) => {
    const loaded = tensors.get(name);
    return head.test(name) && (reinitialize || !(loaded && sameShape(loaded.shape, t.shape)));
  });
  const names = kept.map(([name]) => name);
  // Skip heads at depths that the template does not have.
  const used = [...tensors].filter(([name]) => !names.includes(name) && (wanted.has(name) || !head.test(name)));
  return { params: loadParameters(template, new Map([...used, ...kept]), others), kept: names };
}
