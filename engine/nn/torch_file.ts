/** Reads the tensors of a file that torch.save wrote, without running anything that it names. */
import { unzipSync } from "fflate";
import { crc32 } from "../core/digest.ts";
import type { TypedArray } from "../core/dtype.ts";
import { show, VoxgradError } from "../core/errors.ts";
import type { FileDType } from "../core/safetensors.ts";
import type { Tensor } from "../core/tensor.ts";
import { tensor } from "../ops/elementwise/creation.ts";
import { decoders } from "./safetensors_dtype.ts";
import { type Construct, globalName, type Made, type Pickled, plainValue, unpickle } from "./unpickle.ts";

interface Storage extends Made {
  readonly kind: "storage";
  readonly dtype: FileDType;
  readonly key: string;
  readonly count: number;
}
interface Stored extends Made {
  readonly kind: "tensor";
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const STORAGES: Readonly<Record<string, FileDType>> = {
  FloatStorage: "F32",
  DoubleStorage: "F64",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
};
const BYTES: Readonly<Partial<Record<FileDType, number>>> = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2 };

const isMade = (value: Pickled, kind: string): value is Made =>
  typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
const isCount = (value: Pickled): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function rebuild([storage, offset, shape, strides]: readonly Pickled[]): Stored {
  const whole = isMade(storage, "storage") && isCount(offset) && Array.isArray(shape) && shape.every(isCount) &&
    Array.isArray(strides) && strides.length === shape.length && strides.every(isCount);
  if (!whole) throw new VoxgradError("the pickle describes a tensor that cannot be; the file is damaged");
  return {
    kind: "tensor",
    storage: storage as Storage,
    offset,
    shape: shape as number[],
    strides: strides as number[],
  };
}

/** A number of NumPy: its type, such as "f8", and its bytes. */
function scalar([type, data]: readonly Pickled[]): Pickled {
  const name = isMade(type, "dtype") ? (type as Made & { name: string }).name : "";
  const bytes = data instanceof Uint8Array ? data : Uint8Array.from(String(data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const readers: Readonly<Record<string, [number, () => number]>> = {
    f8: [8, () => view.getFloat64(0, true)],
    f4: [4, () => view.getFloat32(0, true)],
    i8: [8, () => Number(view.getBigInt64(0, true))],
    i4: [4, () => view.getInt32(0, true)],
    b1: [1, () => view.getUint8(0)],
  };
  const reader = readers[name];
  if (!reader || bytes.length !== reader[0]) throw new VoxgradError(`the pickle holds a number of type ${show(name)}`);
  return reader[1]();
}
const latin1: Construct = ([text]) => Uint8Array.from(String(text), (c) => c.charCodeAt(0));
const nothing: Construct = () => null;

const constructors: Readonly<Record<string, Construct>> = {
  "torch._utils._rebuild_tensor_v2": rebuild,
  "torch._utils._rebuild_tensor": rebuild,
  "torch._utils._rebuild_parameter": ([data]) => data,
  "collections.OrderedDict": ([items]) =>
    new Map(
      (Array.isArray(items) ? items : []).map((item) => (Array.isArray(item) ? [item[0], item[1]] : [item, null])),
    ),
  "torch.Size": ([size]) => size,
  "torch.device": nothing,
  "numpy.core.multiarray.scalar": scalar,
  "numpy._core.multiarray.scalar": scalar,
  "numpy.dtype": ([name]) => ({ kind: "dtype", name: String(name) }) as Made,
  "_codecs.encode": latin1,
  ...Object.fromEntries(Object.keys(STORAGES).map((name) => [`torch.${name}`, nothing])),
};

/** The value of a pickle without tensors; see readPickle. */
export function loadPickle(bytes: Uint8Array, functions: readonly string[]): unknown {
  const fail = (name: string): never => {
    throw new VoxgradError(`the pickle calls ${show(name)}, which is not run here`);
  };
  const { "numpy.dtype": dtype, "_codecs.encode": encode, "collections.OrderedDict": ordered } = constructors;
  const known = {
    "numpy.core.multiarray.scalar": scalar,
    "numpy._core.multiarray.scalar": scalar,
    "numpy.dtype": dtype,
    "_codecs.encode": encode,
    "collections.OrderedDict": ordered,
    ...Object.fromEntries(functions.map((name) => [name, () => fail(name)])),
  };
  return plainValue(unpickle(bytes, { constructors: known, persistent: () => fail("a persistent id") }));
}

function storageOf(id: Pickled): Storage {
  const [what, type, key, , count] = Array.isArray(id) ? id : [];
  const dtype = STORAGES[(globalName(type) ?? "").slice("torch.".length)];
  if (what !== "storage" || !dtype || typeof key !== "string" || !isCount(count)) {
    throw new VoxgradError("the pickle refers to something that is no storage of numbers; the file is damaged");
  }
  return { kind: "storage", dtype, key, count };
}

/** Keys under which trainings store the weights. */
const STATES = ["network_weights", "state_dict", "model_state_dict", "model", "net"];

/**
 * The tensors of a state dict, or of a checkpoint that holds one as nnU-Net's and Lightning's do. Types as those of
 * loadSafetensors.
 *
 * @throws VoxgradError for a file that names anything but tensors, numbers, text and plain containers, or is damaged
 */
export const loadTorch = (bytes: Uint8Array): Map<string, Tensor> => loadCheckpoint(bytes).tensors;

/**
 * As loadTorch, with the other entries of a checkpoint.
 *
 * @returns entry: a value by its key, as JSON would hold it; undefined if there is none, or it is a tensor
 */
export function loadCheckpoint(bytes: Uint8Array): {
  tensors: Map<string, Tensor>;
  entry: (key: string) => unknown;
} {
  const files = stored(bytes);
  const pickle = [...files.keys()].find((name) => /(^|\/)data\.pkl$/.test(name));
  if (pickle === undefined) throw new VoxgradError("the zip holds no data.pkl, so torch.save did not write it");
  const folder = pickle.slice(0, -"data.pkl".length);
  const order = files.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(order).trim() !== "little") {
    throw new VoxgradError("its numbers are big endian; save it again on a machine with little endian numbers");
  }
  const root = unpickle(files.get(pickle)!, { constructors, persistent: storageOf });
  const arrays = new Map<string, TypedArray>();
  const result = new Map<string, Tensor>();
  for (const [name, t] of entriesOf(root)) {
    const { key, dtype, count } = t.storage;
    let array = arrays.get(key);
    if (!array) arrays.set(key, array = arrayOf(files.get(`${folder}data/${key}`), dtype, count, name));
    result.set(name, tensor(gathered(array, t, name), { shape: t.shape }));
  }
  if (result.size === 0) {
    throw new VoxgradError("it holds no weights by name: wanted a state dict, or a checkpoint with one");
  }
  return { tensors: result, entry: (key) => root instanceof Map ? plainValue(root.get(key)) : undefined };
}

/** The files of a zip, which torch.save does not compress. */
function stored(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  let packed: string | undefined;
  let seen = 0;
  try {
    const files = unzipSync(bytes, {
      filter({ name, compression, size, originalSize }) {
        // An entry takes 46 bytes and more; the directory of a damaged zip may count billions.
        if (++seen > bytes.length / 46) throw new Error("it counts more files than it can hold");
        if (compression !== 0 || size !== originalSize) packed = name;
        return packed === undefined;
      },
    });
    const sums = checksums(bytes);
    const broken = Object.keys(files).find((name) => crc32(files[name]) !== sums.get(name));
    if (broken !== undefined) throw new Error(`the checksum of ${show(broken)} is wrong`);
    if (packed === undefined) return new Map(Object.entries(files));
  } catch (error) {
    throw new VoxgradError(`the zip is damaged: ${(error as Error).message}`, { cause: error });
  }
  throw new VoxgradError(`${show(packed)} in the zip is compressed, so torch.save did not write it`);
}

/** The checksums in the directory at the end of a zip. */
function checksums(bytes: Uint8Array): ReadonlyMap<string, number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end--;
  let [count, at] = [view.getUint16(end + 10, true), view.getUint32(end + 16, true)];
  if (count === 0xffff || at === 0xffffffff) {
    // Zip64: a second record, to which a locator before the first one leads.
    const wide = Number(view.getBigUint64(end - 12, true));
    [count, at] = [Number(view.getBigUint64(wide + 32, true)), Number(view.getBigUint64(wide + 48, true))];
  }
  const sums = new Map<string, number>();
  for (let k = 0; k < count; k++) {
    const [name, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    sums.set(new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name)), view.getUint32(at + 16, true));
    at += 46 + name + extra + comment;
  }
  return sums;
}

function* entriesOf(root: Pickled): Generator<[string, Stored]> {
  const states = root instanceof Map ? STATES.map((key) => root.get(key)).filter((value) => value instanceof Map) : [];
  const state = states[0] ?? root;
  if (!(state instanceof Map)) return;
  for (const [name, value] of state) {
    if (typeof name === "string" && isMade(value, "tensor")) yield [name, value as Stored];
  }
}

function arrayOf(bytes: Uint8Array | undefined, dtype: FileDType, count: number, name: string): TypedArray {
  const wanted = count * (BYTES[dtype] ?? 1);
  if (!bytes || bytes.length < wanted) {
    throw new VoxgradError(`the numbers of ${show(name)} take ${wanted} bytes and the file has ${bytes?.length ?? 0}`);
  }
  try {
    return decoders[dtype](bytes.slice(0, wanted).buffer);
  } catch (error) {
    throw new VoxgradError(`tensor ${show(name)}: ${(error as Error).message}`, { cause: error });
  }
}

/** The elements in the order of the shape: a tensor may be a part or a transposed view of its storage. */
function gathered(array: TypedArray, { offset, shape, strides }: Stored, name: string): TypedArray {
  const count = shape.reduce((a, b) => a * b, 1);
  const last = shape.reduce((sum, n, k) => sum + (n - 1) * strides[k], offset);
  if (count > 0 && (last >= array.length || count > array.length)) {
    throw new VoxgradError(`tensor ${show(name)} [${shape}] reaches beyond its ${array.length} numbers`);
  }
  let contiguous = 1;
  const isPlain = [...shape.keys()].reverse().every((k) => {
    const fits = shape[k] === 1 || strides[k] === contiguous;
    contiguous *= shape[k];
    return fits;
  });
  if (isPlain) return array.subarray(offset, offset + count);
  const result = new (array.constructor as Float32ArrayConstructor)(count);
  const at = new Array<number>(shape.length).fill(0);
  for (let place = 0, from = offset; place < count; place++) {
    result[place] = array[from];
    for (let k = shape.length - 1; k >= 0; k--) {
      from += strides[k];
      if (++at[k] < shape[k]) break;
      from -= at[k] * strides[k];
      at[k] = 0;
    }
  }
  return result;
}
