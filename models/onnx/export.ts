/** Writes a function as an ONNX model. */
import {
  check,
  isPlain,
  listed,
  type Params,
  show,
  Tensor,
  type TracedValue,
  traceGraph,
  tree,
  VERSION,
} from "../../engine/mod.ts";
import {
  int64,
  tensorBytes,
  typeOfDType,
  writeModel,
  type WrittenAttribute,
  type WrittenNode,
  type WrittenTensor,
  type WrittenValue,
} from "./file/write_model.ts";
import { type Builder, isWhole, refuse, translations } from "./translate.ts";

const OPSET = 17;

export type OnnxInputs = Readonly<Record<string, Tensor>>;

/** exportOnnx, of which open_onnx.ts has the description. */
export async function writeOnnx(
  f: (params: Params, inputs: OnnxInputs) => unknown,
  params: Params,
  inputs: OnnxInputs,
  metadata: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  const names = Object.keys(inputs);
  check(
    isPlain(inputs) && names.length > 0 && names.every((name) => inputs[name] instanceof Tensor),
    "exportOnnx",
    () => `inputs are tensors by name, of which shape and type count, got ${show(inputs)}`,
  );
  const { values, outputs } = traceGraph(f as (...args: unknown[]) => unknown, [params, inputs], { keep: isWhole });
  const missing = values.map(({ operator }) => operator).filter((name) => name !== null && !translations[name]);
  if (missing.length > 0) refuse(listed(new Set(missing as string[])));
  const weights = tree.flatten(params) as ReadonlyMap<string, Tensor>;
  const taken = new Set([...weights.keys(), ...names]);
  check(
    taken.size === weights.size + names.length,
    "exportOnnx",
    () => `an input and a parameter have the same name: ${listed(names.filter((name) => weights.has(name)))}`,
  );
  const graph = new Graph(taken);
  for (const value of values) {
    const { argument, constant, operator } = value;
    if (argument?.startsWith("0.")) await graph.store(argument.slice(2), value, weights.get(argument.slice(2))!);
    else if (argument !== undefined) graph.names.set(value, argument.slice(2));
    else if (constant) await graph.store(graph.fresh(), value, constant);
    else {graph.names.set(
        value,
        translations[operator!](
          graph,
          value,
          value.inputs.map((each) => graph.names.get(each)!),
        ),
      );}
  }
  const results = [...outputs].map(([path, value]): WrittenValue => {
    const name = path === "" ? "output" : /^\d/.test(path) ? `output_${path}` : path;
    check(!taken.has(name), "exportOnnx", () => `the output ${show(name)} has the name of an input or a parameter`);
    graph.nodes.push({ type: "Identity", inputs: [graph.names.get(value)!], output: name, attributes: {} });
    return { name, shape: value.shape, type: typeOfDType(value.dtype) };
  });
  return writeModel({
    opset: OPSET,
    producer: "voxgrad",
    version: VERSION,
    nodes: graph.nodes,
    initializers: graph.initializers,
    inputs: names.map((name) => ({ name, shape: inputs[name].shape, type: typeOfDType(inputs[name].dtype) })),
    outputs: results,
    metadata,
  });
}

class Graph implements Builder {
  readonly nodes: WrittenNode[] = [];
  readonly initializers: WrittenTensor[] = [];
  readonly names = new Map<TracedValue, string>();
  readonly #taken: ReadonlySet<string>;
  readonly #constants = new Map<string, string>();
  #count = 0;

  constructor(taken: ReadonlySet<string>) {
    this.#taken = taken;
  }

  fresh(): string {
    for (;;) {
      const name = `/${this.#count++}`;
      if (!this.#taken.has(name)) return name;
    }
  }

  async store(name: string, value: TracedValue, t: Tensor): Promise<void> {
    const bytes = tensorBytes(await t.data(), t.dtype);
    this.initializers.push({ name, shape: t.shape, type: typeOfDType(t.dtype), bytes });
    this.names.set(value, name);
  }

  node(type: string, inputs: readonly string[], attributes: Readonly<Record<string, WrittenAttribute>> = {}): string {
    const output = this.fresh();
    this.nodes.push({ type, inputs, output, attributes });
    return output;
  }

  integers(values: readonly number[]): string {
    return this.#once(`integers ${values}`, () => {
      const name = this.fresh();
      this.initializers.push(int64(name, values));
      return name;
    });
  }

  scalar(value: number, dtype: "f32" | "i32" | "u32" | "bool" = "f32"): string {
    const Array = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint8Array }[dtype];
    const bytes = new Uint8Array(Array.of(value).buffer);
    // A node, since importers take float initializers for parameters.
    const made = { name: "", shape: [], type: typeOfDType(dtype), bytes };
    return this.#once(`${dtype} ${bytes}`, () => this.node("Constant", [], { value: made }));
  }

  /** Equal constants are stored once. */
  #once(key: string, make: () => string): string {
    let name = this.#constants.get(key);
    if (name === undefined) this.#constants.set(key, name = make());
    return name;
  }
}
