/** A model of an ONNX file as a function of parameters and inputs. */
import { check, type DType, listed, show, Tensor, type TypedArray, VoxgradError } from "../../engine/mod.ts";
import { type FileSource, readSource } from "../../engine/train/mod.ts";
import { operatorOf, runGraph } from "./file/run_graph.ts";
import {
  numbersOf,
  type OnnxFile,
  type OnnxGraph,
  type OnnxTensor,
  type OnnxValueInfo,
  readModel,
} from "./file/messages.ts";
import { operators } from "./operators/mod.ts";
import { ELSEWHERE, type Weights, withWeights } from "./file/save.ts";
import {
  dtypeOrNull,
  fromFile,
  isFloatType,
  Known,
  nameOf,
  toTensor,
  UnsupportedOnnx,
  type Value,
} from "./file/values.ts";

/** Parameters of a model by the names of its initializers. */
export type OnnxParams = Readonly<Record<string, Tensor>>;

/** An input or output of a model. */
export interface OnnxInput {
  readonly name: string;
  /** As ONNX names it: float, int64, ... */
  readonly type: string;
  /** What stands for it here; null for types that are not supported. */
  readonly dtype: DType | null;
  /** Sizes, or the names of those that each call binds ("?" without a name); null if the file does not say. */
  readonly shape: readonly (number | string)[] | null;
}

export interface OnnxOptions {
  /** Files of weights beside the model by the names that it has for them; by default they are read beside it. */
  readonly external?: Readonly<Record<string, FileSource>>;
}

export interface OnnxModel {
  /** The float initializers that the graph computes with; statistics of batch norm are constants. */
  readonly params: OnnxParams;
  readonly inputs: readonly OnnxInput[];
  readonly outputs: readonly OnnxInput[];
  /** Version of the operators. */
  readonly opset: number;
  /** The program that wrote the file. */
  readonly producer: string;
  /** Entries that its writer added. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Paths of the files of weights that were read beside it. */
  readonly external: readonly string[];
  /**
   * The outputs by name. Derivatives of any order go through it, and it may be compiled.
   *
   * @param inputs by name, or the only one; numbers for what shapes are computed from
   * @throws VoxgradError for inputs or parameters that the model does not have or whose shapes differ; naming the node
   *   where shapes do not fit
   */
  apply(
    params: OnnxParams,
    inputs: Tensor | Readonly<Record<string, Tensor | number | readonly number[] | TypedArray>>,
  ): Record<string, Tensor>;
  /**
   * The file with these parameters, of the types that it has; the rest is unchanged. Weights beside it move into it.
   *
   * @param metadata entries to add to those of the file, or to put in their place
   */
  save(params: OnnxParams, metadata?: Readonly<Record<string, string>>): Promise<Uint8Array>;
  /** The file without its parameters, of which it keeps names, types and shapes. */
  strip(): Uint8Array;
}

const OLDEST = 7;
const LATEST = 21;

/** Inputs that operators take as numbers of the file, by index: no derivative reaches them. */
const FIXED: Readonly<Record<string, readonly number[]>> = {
  BatchNormalization: [3, 4],
  Dropout: [1, 2],
  Pad: [1, 2, 3],
  Range: [0, 1, 2],
  Resize: [1, 2, 3],
  Upsample: [1],
};

/** @param options.name of the file, for messages; default: what the source says */
export async function openOnnxFile(
  source: FileSource,
  { external = {}, name: called }: OnnxOptions & { readonly name?: string },
): Promise<OnnxModel> {
  const { bytes, name: own } = await readSource(source);
  const name = called ?? own;
  const file = parsed(bytes, name);
  const paths = new Set<string>();
  const stored = new Map<string, Known>();
  for (const t of file.graph.initializers) {
    stored.set(t.name, fromFile(await loaded(t, source, external, (path) => paths.add(path))));
  }
  return modelOf(bytes, name, file, stored, [...paths]);
}

/** A model without its weights, as `withoutWeights` writes it; its parameters are zeros. */
export function openStripped(bytes: Uint8Array, name: string): OnnxModel {
  const file = parsed(bytes, name);
  const stored = new Map(file.graph.initializers.map((t) => {
    const { external, ...rest } = t;
    check(
      !external || external.location === ELSEWHERE,
      "openOnnx",
      () => `${name}: weights lie in a file of their own`,
    );
    const count = t.shape.reduce((a, b) => a * b, 1);
    return [t.name, fromFile(external ? { ...rest, data: new Float32Array(count) } : t)];
  }));
  return modelOf(bytes, name, file, stored, []);
}

/** A model of a file that was read, with its initializers. */
function modelOf(
  bytes: Uint8Array,
  name: string,
  file: OnnxFile,
  stored: ReadonlyMap<string, Known>,
  external: readonly string[],
): OnnxModel {
  const { graph, opset, producer, metadata } = file;
  const missing = new Set(allNodes(graph).map(operatorOf).filter((each) => !Object.hasOwn(operators, each)));
  if (missing.size > 0) throw new UnsupportedOnnx(`operator ${listed(missing)}`, name);
  const trained = trainable(graph, stored);
  const free = graph.inputs.filter((input) => !stored.has(input.name));
  const odd = free.find(({ type }) => type === null);
  if (odd) throw new UnsupportedOnnx(`the input ${show(odd.name)}, which is no tensor`, name);
  const infos = { inputs: free.map(described), outputs: graph.outputs.map(described) };
  const rewritten = (weights: ReadonlyMap<string, Weights>, entries?: Readonly<Record<string, string>>): Uint8Array => {
    try {
      return withWeights(bytes, weights, entries);
    } catch (error) {
      throw new VoxgradError(`openOnnx: ${name} is damaged: ${(error as Error).message}`, { cause: error });
    }
  };
  return {
    params: Object.fromEntries(trained.map((each) => [each, toTensor(stored.get(each))])),
    ...infos,
    opset,
    producer,
    metadata,
    external,
    apply(params, inputs) {
      const values = new Map<string, Value>(stored);
      checkParams(params, trained);
      for (const each of trained) values.set(each, checkedParam(each, params, stored));
      for (const [each, value] of given(infos.inputs, inputs)) values.set(each, value);
      const results = runGraph(file, { ...graph, initializers: [] }, values, operators);
      return Object.fromEntries(graph.outputs.map((output, k) => [output.name, toTensor(results[k])]));
    },
    async save(params, metadata = {}) {
      checkParams(params, trained);
      const weights = await Promise.all(trained.map(async (each) => {
        const data = await checkedParam(each, params, stored).data() as Float32Array;
        return [each, { type: stored.get(each)!.type, shape: stored.get(each)!.shape, data }] as const;
      }));
      return rewritten(new Map([...weights, ...otherWeights(graph, stored, trained)]), metadata);
    },
    strip() {
      const elsewhere = trained.map((each) =>
        [each, { type: stored.get(each)!.type, shape: stored.get(each)!.shape }] as const
      );
      return rewritten(new Map<string, Weights>([...elsewhere, ...otherWeights(graph, stored, trained)]));
    },
  };
}

/** Constants that lie in files of their own. */
function otherWeights(
  graph: OnnxGraph,
  stored: ReadonlyMap<string, Known>,
  trained: readonly string[],
): (readonly [string, Weights])[] {
  return graph.initializers.flatMap(({ name, external }) => {
    const t = external && !trained.includes(name) ? stored.get(name)! : undefined;
    check(!t || t.type === 1, "openOnnx", () => `save: ${show(name)} lies in a file of its own and is no float`);
    return t ? [[name, { type: 1, shape: t.shape, data: Float32Array.from(t.data) }] as const] : [];
  });
}

function parsed(bytes: Uint8Array, name: string): OnnxFile {
  try {
    const file = readModel(bytes);
    const { opset } = file;
    check(
      opset >= OLDEST && opset <= LATEST,
      "openOnnx",
      () => `its operators are of version ${opset}; wanted ${OLDEST} to ${LATEST}: export it again with opset 17`,
    );
    return file;
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof VoxgradError) throw new VoxgradError(`${name}: ${message}`, { cause: error });
    throw new VoxgradError(`openOnnx: ${name} is no ONNX model, or is damaged: ${message}`, { cause: error });
  }
}

const isGraph = (value: unknown): value is OnnxGraph => typeof value === "object" && value !== null && "nodes" in value;
const allNodes = (graph: OnnxGraph): OnnxGraph["nodes"] =>
  graph.nodes.flatMap((node) => [node, ...[...node.attributes.values()].filter(isGraph).flatMap(allNodes)]);

/** Floats that some operator computes with. */
function trainable(graph: OnnxGraph, stored: ReadonlyMap<string, Known>): string[] {
  const used = new Set<string>();
  for (const node of allNodes(graph)) {
    const fixed = FIXED[operatorOf(node)] ?? [];
    node.inputs.forEach((input, k) => fixed.includes(k) || used.add(input));
  }
  return [...stored].filter(([name, t]) => isFloatType(t.type) && used.has(name)).map(([name]) => name);
}

/** The tensor with its data, which may lie in a file of their own. */
async function loaded(
  t: OnnxTensor,
  source: FileSource,
  files: Readonly<Record<string, FileSource>>,
  onPath: (path: string) => void,
): Promise<OnnxTensor> {
  if (!t.external) return t;
  const { location, offset, length } = t.external;
  const parts = location.split(/[\\/]/);
  check(
    location !== "" && !parts.includes("..") && !/^(?:[\\/]|[A-Za-z][\w+.-]*:)/.test(location),
    "openOnnx",
    () => `the data of ${show(t.name)} lie in ${show(location)}; wanted a path within the model's folder`,
  );
  const file = Object.hasOwn(files, location) ? files[location] : beside(source, location);
  if (typeof file === "string") onPath(file);
  const { bytes, name } = await readSource(file);
  const end = length === undefined ? bytes.length : offset + length;
  check(
    offset >= 0 && end <= bytes.length && offset <= end,
    "openOnnx",
    () => `${name}: ${show(t.name)} lies at bytes ${offset} to ${end}, and the file has ${bytes.length}`,
  );
  return { ...t, data: numbersOf(t, bytes.subarray(offset, end)) };
}

/** The file of weights that a model's file names, for a model with a path or an address. */
export function beside(source: FileSource, location: string, operator = "openOnnx"): FileSource {
  const address = typeof source === "string" ? source : source instanceof URL ? source.href : "";
  if (/^(?:https?|file):/i.test(address)) return new URL(location, address);
  if (address !== "" && !/^(?:blob|data):/i.test(address)) {
    return `${address.slice(0, address.search(/[^\\/]*$/))}${location}`;
  }
  const given = `{ external: { ${JSON.stringify(location)}: file } }`;
  throw new VoxgradError(
    `${operator}: the weights lie in a file of their own, ${show(location)}; give it with the model: ${given}`,
  );
}

const described = ({ name, type, shape }: OnnxValueInfo): OnnxInput => ({
  name,
  type: type === null ? "not a tensor" : nameOf(type),
  dtype: type === null ? null : dtypeOrNull(type),
  shape,
});
function checkParams(params: OnnxParams, names: readonly string[]): void {
  const odd = Object.keys(params).filter((name) => !names.includes(name));
  check(odd.length === 0, "openOnnx", () => `the model has no parameter ${listed(odd.map(show))}`);
}
function checkedParam(name: string, params: OnnxParams, stored: ReadonlyMap<string, Known>): Tensor {
  const t = params[name];
  const { shape } = stored.get(name)!;
  check(
    t instanceof Tensor && String(t.shape) === String(shape),
    "openOnnx",
    () => `the parameter ${show(name)} is a tensor [${shape}], got ${show(t)}`,
  );
  return t;
}

type Given = Tensor | number | readonly number[] | TypedArray;
/** The inputs by name; sizes with the same name agree. */
function given(
  wanted: readonly OnnxInput[],
  inputs: Tensor | Readonly<Record<string, Given>>,
): [string, Value][] {
  const names = wanted.map(({ name }) => name);
  const single = inputs instanceof Tensor;
  check(
    !single || wanted.length === 1,
    "openOnnx",
    () => `the model takes ${wanted.length} inputs, ${listed(names)}; give them by name`,
  );
  const byName: Readonly<Record<string, Given>> = single ? { [names[0]]: inputs } : inputs;
  const odd = Object.keys(byName).filter((name) => !names.includes(name));
  check(odd.length === 0, "openOnnx", () => `the model has no input ${listed(odd.map(show))}; it has ${listed(names)}`);
  const bound = new Map<string, number>();
  return wanted.map(({ name, dtype, type, shape }) => {
    const value = byName[name];
    check(
      value !== undefined,
      "openOnnx",
      () => `the input ${show(name)} is missing; the model takes ${listed(names)}`,
    );
    const own = value instanceof Tensor ? value : numbers(value as Exclude<Given, Tensor>, dtype);
    const got = own instanceof Tensor ? own.dtype : dtype;
    check(
      got === dtype || (dtype === "f32" && got === "f16"),
      "openOnnx",
      () => `the input ${show(name)} is of type ${type} (${dtype} here), got ${show(value)}; cast it`,
    );
    const fits = shape === null || (shape.length === own.shape.length && shape.every((n, k) => {
      if (typeof n === "number") return n === own.shape[k];
      const before = bound.get(n) ?? own.shape[k];
      if (n !== "?") bound.set(n, before);
      return n === "?" || before === own.shape[k];
    }));
    check(fits, "openOnnx", () => `the input ${show(name)} has the shape [${shape?.join(", ")}], got [${own.shape}]`);
    return [name, own];
  });
}

/** Plain numbers are known while the graph is built, as shapes and sizes have to be. */
function numbers(value: number | readonly number[] | TypedArray, dtype: DType | null): Known {
  const type = dtype === "f32" ? 1 : dtype === "bool" ? 9 : 7;
  return typeof value === "number" ? new Known([], [value], type) : new Known([value.length], Array.from(value), type);
}
