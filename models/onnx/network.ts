/**
 * Graphs of ONNX files as networks that are trained here: a model file keeps the graph without its weights as the
 * architecture of a network "onnx", and the weights by their names in the graph.
 */
import type { Params, Tensor } from "../../engine/mod.ts";
import { base64, check, concat, fromBase64, slice } from "../../engine/segmenting.ts";
import { type Model, registerNetwork } from "../known_networks.ts";
import { type OnnxModel, openStripped } from "./model.ts";

/** The name of such networks in model files. */
export const ONNX = "onnx";

interface OnnxArchitecture {
  /** The file without its parameters, as base64. */
  readonly graph: string;
  readonly inputChannels: number;
  readonly classes: number;
}

/** What a model file keeps of a graph. */
export const architectureOfGraph = (model: OnnxModel, inputChannels: number, classes: number): OnnxArchitecture => ({
  graph: base64(model.strip()),
  inputChannels,
  classes,
});

/**
 * The graph as a network of one image, whose logits are its first output. A graph for one image at a time is applied to
 * each of a batch.
 */
export function networkOfGraph(model: OnnxModel): Model<Tensor> {
  const [{ name, shape }] = model.inputs;
  const apply = (params: Params, image: Tensor): Tensor =>
    Object.values(model.apply(params as OnnxModel["params"], { [name]: image }))[0];
  return {
    config: {},
    init: () => ({ ...model.params }),
    apply(params, images) {
      const [count, ...rest] = images.shape;
      if (shape?.[0] !== 1 || count === 1) return apply(params, images);
      const zeros = rest.map(() => 0);
      const each = Array.from(
        { length: count },
        (_, k) => apply(params, slice(images, { start: [k, ...zeros], end: [k + 1, ...rest] })),
      );
      return concat(each, { axis: 0 });
    },
  };
}

/** The model of an architecture, whose parameters are zeros. */
export function openArchitecture(architecture: object, file: string): OnnxModel {
  const { graph } = architecture as Partial<OnnxArchitecture>;
  check(typeof graph === "string", "openModel", () => `${file}: its architecture holds no graph`);
  const model = openStripped(fromBase64(graph, `${file}: the graph in its header`), file);
  check(model.inputs.length === 1, "openModel", () => `${file}: its graph takes ${model.inputs.length} inputs`);
  return model;
}

registerNetwork(ONNX, { build: (architecture, file) => networkOfGraph(openArchitecture(architecture, file)) });
