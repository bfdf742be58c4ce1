/** Reads a layers model of TensorFlow.js and translates it to ONNX. */
import { check, isPlain, listed, show, VERSION, VoxgradError } from "../../engine/mod.ts";
import { parseJson } from "../../engine/segmenting.ts";
import { type FileSource, readSource } from "../../engine/train/mod.ts";
import { beside, type OnnxModel, type OnnxOptions, openOnnxFile } from "../onnx/model.ts";
import { UnsupportedOnnx } from "../onnx/file/values.ts";
import { writeModel, type WrittenValue } from "../onnx/file/write_model.ts";
import { GraphBuilder, Layer, type LayerValue } from "./graph.ts";
import { layers } from "./layers.ts";
import { groupsOf, type LayerWeight, type Refuse, weightsOf } from "./weights.ts";

/** The entry of the metadata that holds the sizes of space that the file gives for its input. */
export const SIZES = "sizes of the input";

export async function openLayersFile(source: FileSource, { external = {} }: OnnxOptions): Promise<OnnxModel> {
  const { bytes, name } = await readSource(source);
  const refuse: Refuse = (problem) => {
    throw new VoxgradError(`${name}: ${problem}; is it the model.json of a layers model of TensorFlow.js?`);
  };
  const json = parseJson(bytes, name);
  if (!isPlain(json)) return refuse(`it holds ${show(json)}, no object`);
  if (json.format === "graph-model") {
    throw new UnsupportedOnnx("a graph model; save it as a layers model (tf.LayersModel)", name);
  }
  if (!isPlain(json.modelTopology)) return refuse("it has no modelTopology");
  const groups = groupsOf(json.weightsManifest, name, refuse);
  const weights = new Map<string, LayerWeight>();
  const paths: string[] = [];
  for (const group of groups) {
    const places = group.paths.map((path) => placeOf(path, source, external));
    paths.push(...places.filter((place) => typeof place === "string"));
    const files = await Promise.all(places.map(readSource));
    for (const [each, weight] of weightsOf(group, files.map((file) => file.bytes))) {
      if (weights.has(each)) refuse(`the weight ${show(each)} is there twice`);
      weights.set(each, weight);
    }
  }
  const model = await openOnnxFile(translated(json.modelTopology, weights, name, refuse), { name });
  return { ...model, external: paths };
}

/** Where a file of weights is. */
function placeOf(
  path: string,
  source: FileSource,
  external: Readonly<Record<string, FileSource>>,
): FileSource {
  const parts = path.split(/[\\/]/);
  check(
    path !== "" && !parts.includes("..") && !/^(?:[\\/]|[A-Za-z][\w+.-]*:)/.test(path),
    "openLayersModel",
    () => `the weights lie in ${show(path)}; wanted a path within the model's folder`,
  );
  return Object.hasOwn(external, path) ? external[path] : beside(source, path, "openLayersModel");
}

/** A reference to what a call of a layer gives. */
type Reference = readonly [layer: string, call: number, tensor: number];

/** References are lists [layer, call, tensor], alone or in a list. */
function referencesOf(json: unknown, place: string, refuse: Refuse): Reference[] {
  const list = Array.isArray(json) && typeof json[0] === "string" ? [json] : json;
  if (!Array.isArray(list)) return refuse(`${place} is ${show(json)}; wanted a list`);
  return list.map((each: unknown) => {
    const [layer, call, tensor] = Array.isArray(each) ? each as unknown[] : [];
    if (typeof layer !== "string" || !Number.isSafeInteger(call) || tensor !== 0) {
      return refuse(`${place} holds ${show(each)}; wanted [layer, call, 0]`);
    }
    return [layer, call as number, 0];
  });
}

interface Described {
  readonly layer: Layer;
  /** Of each call, what it takes; none for an input. */
  readonly calls: readonly (readonly Reference[])[];
}

/** The layers in the order of the file, and what the model gives. */
function describedLayers(
  topology: Readonly<Record<string, unknown>>,
  weights: ReadonlyMap<string, LayerWeight>,
  file: string,
  refuse: Refuse,
): { described: Map<string, Described>; inputs: Reference[]; outputs: Reference[] } {
  const model = isPlain(topology.model_config) ? topology.model_config : topology;
  const kind = model.class_name;
  const config = model.config;
  const list = Array.isArray(config) ? config : isPlain(config) ? config.layers : undefined;
  if (!Array.isArray(list) || list.length === 0) return refuse("it lists no layers");
  const sequential = kind === "Sequential";
  if (!sequential && !(isPlain(config) && (kind === "Functional" || kind === "Model"))) {
    return refuse(`its model is of the class ${show(kind)}; wanted Functional, Model or Sequential`);
  }
  const described = new Map<string, Described>();
  const perLayer = weightsPerLayer(weights, list);
  let before: Reference[] = [];
  for (const json of list as unknown[]) {
    if (!isPlain(json) || typeof json.class_name !== "string" || !isPlain(json.config)) {
      return refuse(`it lists ${show(json)} as a layer`);
    }
    const own = json.config;
    const name = typeof json.name === "string" ? json.name : own.name;
    if (typeof name !== "string" || described.has(name)) return refuse(`a layer is called ${show(name)}, or two are`);
    const layer = new Layer(name, json.class_name, own, perLayer.get(name) ?? new Map(), file);
    if (sequential) {
      if (described.size === 0 && layer.kind !== "InputLayer") {
        // The first layer says what it takes.
        const input = new Layer(`${name}_input`, "InputLayer", own, new Map(), file);
        described.set(input.name, { layer: input, calls: [[]] });
        before = [[input.name, 0, 0]];
      }
      described.set(name, { layer, calls: [before] });
      before = [[name, 0, 0]];
    } else {
      const nodes = json.inbound_nodes ?? [];
      if (!Array.isArray(nodes)) return refuse(`inbound_nodes of ${show(name)} is ${show(nodes)}; wanted a list`);
      const calls = nodes.map((node) => referencesOf(node, `inbound_nodes of ${show(name)}`, refuse));
      described.set(name, { layer, calls: layer.kind === "InputLayer" ? [[]] : calls });
    }
  }
  if (sequential) return { described, inputs: [[[...described.keys()][0], 0, 0]], outputs: before };
  const { input_layers, output_layers } = config as Record<string, unknown>;
  return {
    described,
    inputs: referencesOf(input_layers, "input_layers", refuse),
    outputs: referencesOf(output_layers, "output_layers", refuse),
  };
}

const kindOf = (name: string): string => name.slice(name.lastIndexOf("/") + 1).replace(/:\d+$/, "");

/** Weights by layer and then by what they are: "conv/kernel" is the kernel of the layer conv. */
function weightsPerLayer(
  weights: ReadonlyMap<string, LayerWeight>,
  list: readonly unknown[],
): Map<string, Map<string, LayerWeight>> {
  const names = new Set(list.map((json) => (isPlain(json) && isPlain(json.config) ? json.config.name : undefined)));
  const result = new Map<string, Map<string, LayerWeight>>();
  for (const [name, weight] of weights) {
    const path = name.slice(0, Math.max(0, name.lastIndexOf("/")));
    const layer = names.has(path) ? path : path.slice(path.lastIndexOf("/") + 1);
    const own = result.get(layer) ?? new Map<string, LayerWeight>();
    result.set(layer, own.set(kindOf(name), weight));
  }
  return result;
}

const SPACE = ["depth", "height", "width"];

/** An input of the model: its value, and its sizes of space. */
function inputOf(layer: Layer, g: GraphBuilder): { value: LayerValue; sizes: (number | null)[] } {
  const shape = layer.config.batch_input_shape ?? layer.config.batch_shape;
  const isSize = (n: unknown): boolean => n === null || (Number.isSafeInteger(n) && (n as number) >= 1);
  if (!Array.isArray(shape) || shape.length < 2 || shape.length > 5 || !shape.every(isSize)) {
    return layer.fail(`batch_input_shape is ${show(shape)}; wanted [null, ...sizes, channels]`);
  }
  const type = layer.entry("dtype", "float32");
  if (type !== "float32") layer.lacks(`an input of type ${show(type)}`);
  const sizes = shape as (number | null)[];
  const value = { name: g.claim(layer.name), rank: shape.length, channels: sizes.at(-1) ?? undefined };
  return { value, sizes: sizes.slice(1, -1) };
}

/** The bytes of an ONNX model. */
function translated(
  topology: Readonly<Record<string, unknown>>,
  weights: ReadonlyMap<string, LayerWeight>,
  file: string,
  refuse: Refuse,
): Uint8Array {
  const { described, inputs, outputs } = describedLayers(topology, weights, file, refuse);
  const missing = new Set([...described.values()].map(({ layer }) => layer.kind));
  missing.delete("InputLayer");
  const odd = [...missing].filter((kind) => !Object.hasOwn(layers, kind));
  if (odd.length > 0) throw new UnsupportedOnnx(`layers ${listed(odd)}`, file);
  const g = new GraphBuilder();
  const values = new Map<string, LayerValue>();
  const key = ([layer, call]: Reference): string => `${call} ${layer}`;
  const given = inputs.map(([name]) => {
    const found = described.get(name);
    if (found?.layer.kind !== "InputLayer") return refuse(`the input ${show(name)} is no InputLayer`);
    const input = inputOf(found.layer, g);
    values.set(key([name, 0, 0]), input.value);
    return input;
  });
  const ends = outputs.map(([name]) => g.claim(name));
  // Layers stand in any order; each round computes those whose inputs are there.
  let open = [...described.values()].flatMap(({ layer, calls }) =>
    calls.flatMap((takes, call) => (layer.kind === "InputLayer" ? [] : [{ layer, takes, call }]))
  );
  while (open.length > 0) {
    const later: typeof open = [];
    for (const each of open) {
      const from = each.takes.map((reference) => values.get(key(reference)));
      if (!from.every((value) => value !== undefined)) later.push(each);
      else values.set(key([each.layer.name, each.call, 0]), layers[each.layer.kind](each.layer, from, g));
    }
    if (later.length === open.length) {
      refuse(`nothing gives what the layers ${listed(later.map(({ layer }) => layer.name))} take`);
    }
    open = later;
  }
  const taken = new Set([...described.values()].flatMap(({ layer }) => [...layer.taken]));
  const unused = [...weights].flatMap(([name, weight]) => (taken.has(weight) ? [] : [name]));
  if (unused.length > 0) refuse(`no layer takes the weights ${listed(unused)}`);
  const shapeOf = (value: LayerValue, prefix: string): (number | string)[] => [
    "batch",
    value.channels ?? `${prefix}channels`,
    ...(value.rank > 2 ? SPACE.slice(5 - value.rank).map((size) => `${prefix}${size}`) : []),
  ];
  const results = outputs.map((reference, k): WrittenValue => {
    const value = values.get(key(reference)) ?? refuse(`nothing gives the output ${show(reference[0])}`);
    g.result(ends[k], value.name);
    return { name: ends[k], type: 1, shape: shapeOf(value, `${ends[k]}.`) };
  });
  return writeModel({
    opset: 17,
    producer: "voxgrad",
    version: VERSION,
    nodes: g.nodes,
    initializers: g.initializers,
    inputs: given.map(({ value }, k) => ({ name: value.name, type: 1, shape: shapeOf(value, k === 0 ? "" : `${k}.`) })),
    outputs: results,
    metadata: {
      source: "TensorFlow.js layers model",
      ...(given.length === 1 && given[0].sizes.every((n) => n !== null) && { [SIZES]: given[0].sizes.join(",") }),
    },
  });
}
