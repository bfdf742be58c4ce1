// Parameters, size and arithmetic of a network, part by part: of a training's network, or of one described here.
// Nothing is run, so any size will do. `npx voxgrad summary runs/phantom-001`, or
// `npx voxgrad summary --network conResNet --arm full --channels 4 --classes 3 --patch 80,160,160`
import type { Params, Tensor } from "../engine/mod.ts";
import type { Plan } from "../engine/imaging/mod.ts";
import {
  choice,
  config,
  ConfigError,
  entry,
  findModels,
  formatTable,
  loadModel,
  type ModelDescription,
  print,
  refuseUnused,
} from "../engine/train/mod.ts";
import {
  type Model,
  networkOf,
  openLayersModel,
  openOnnx,
  registeredNetworks,
  summarizeNetwork,
} from "../models/mod.ts";

const networks = [...registeredNetworks()].flatMap(([name, { summary }]) => summary ? [{ name, ...summary }] : []);
networks.sort((a, b) => (a.name < b.name ? -1 : 1));
// Which options the networks add is known at run time alone.
// deno-lint-ignore no-explicit-any
const options: Readonly<Record<string, any>> = config({
  model: entry(
    "",
    "run folder, model.safetensors, NAME.onnx or model.json (TensorFlow.js); else the network is described below",
    {
      positional: true,
    },
  ),
  network: choice(networks.map(({ name }) => name), "architecture"),
  channels: entry(1, "input channels", { integer: true, min: 1 }),
  classes: entry(2, "outputs: labels with the background, or regions", { integer: true, min: 1 }),
  features: entry([], "channels at each scale, the finest first; default by the network", { integer: true, min: 1 }),
  patch: entry([], "voxels of the input; that of the plan, or 128,128,128", {
    integer: true,
    min: 1,
    lengths: [0, 2, 3],
  }),
  depth: entry(0, "how many of the dotted names of parameters make a part; 0: up to the first number", {
    integer: true,
    min: 0,
  }),
  ...Object.assign({}, ...networks.map((network) => network.options)),
});

const described = options.model !== "" && "the model file says it";
const chosen = networks.find(({ name }) => name === options.network)!;
refuseUnused(options, {
  ...Object.fromEntries(["network", "channels", "classes", "features"].map((key) => [key, described])),
  ...Object.fromEntries(
    networks.flatMap((network) => Object.keys(network.options)).map((key) => [
      key,
      described || (!Object.hasOwn(chosen.options, key) && `--network ${chosen.name} has none`),
    ]),
  ),
});

interface Asked {
  readonly name: string;
  readonly model: Pick<Model, "init" | "apply">;
  readonly input: readonly number[];
}

/** A model with one image as its input; sizes that it leaves open are those of --patch, and a batch of one. */
async function foreignAsked(file: string): Promise<Asked> {
  const open = file.endsWith(".json") ? openLayersModel : openOnnx;
  const { params, inputs, apply } = await open(file);
  const [{ name, shape }, ...others] = inputs;
  if (others.length > 0 || shape === null) {
    throw new ConfigError(`${file}: wanted one input whose shape is known; it has ${inputs.length}`);
  }
  const sizes = shape.map((n, k) => (typeof n === "number" ? n : k === 0 ? 1 : options.patch[k - 2]));
  if (sizes.includes(undefined)) throw new ConfigError(`${file}: its input is [${shape.join(", ")}]; give --patch`);
  const odd = options.patch.some((n: number, k: number) => n !== sizes[k + 2]);
  if (odd) throw new ConfigError(`${file}: its input is [${shape.join(", ")}], which --patch cannot change`);
  return {
    name: open === openOnnx ? "ONNX" : "TensorFlow.js",
    input: sizes as number[],
    model: {
      init: () => params as Params,
      apply: (p: Params, x: Tensor): Tensor[] => Object.values(apply(p as typeof params, { [name]: x })),
    },
  };
}

/** What is asked for: the network, and the shape of its input. */
async function asked(): Promise<Asked> {
  if (/\.(?:onnx|json)$/.test(options.model)) return foreignAsked(options.model);
  const { plan, file, ...found } = await describedNetwork();
  const { inputChannels } = found.architecture as { inputChannels: number };
  if (!(inputChannels >= 1)) throw new ConfigError(`${file}: its architecture does not say how many channels it takes`);
  const patch = options.patch.length > 0 ? options.patch : (plan?.patch ?? [128, 128, 128]);
  return { name: found.network, model: networkOf(found, file), input: [1, inputChannels, ...patch] };
}

/** The network's name, the argument of its constructor, and where it has one its plan. */
async function describedNetwork(): Promise<
  Pick<ModelDescription, "network" | "architecture"> & { plan?: Plan; file: string }
> {
  if (options.model !== "") {
    const { files } = await findModels(options.model);
    return { ...(await loadModel(files[0])).description, file: files[0] };
  }
  const { channels: inputChannels, classes, features } = options;
  const shape = { inputChannels, classes, dimensions: options.patch.length === 2 ? 2 : 3 } as const;
  const own = Object.fromEntries(Object.keys(chosen.options).map((key) => [key, options[key]]));
  const architecture = chosen.architecture({ ...shape, ...(features.length > 0 && { features }) }, own);
  return { network: chosen.name, architecture, file: "--network" };
}

const { name, model, input } = await asked();
const summary = summarizeNetwork(model, { input, ...(options.depth > 0 && { depth: options.depth }) });

const { parameters, multiplyAdds } = summary;
const by = (shape: readonly number[]): string => shape.join(" x ");
const giga = (count: number): string => (count / 1e9).toFixed(count < 1e8 ? 4 : 1);
print(`${name}, input ${by(input)}; outputs ${summary.outputs.map(by).join(", ")}\n`);
print(
  formatTable(
    ["part", "parameters", "multiply-adds (1e9)", "%"],
    [...summary.parts, { name: "total", parameters, multiplyAdds }].map((part) => [
      part.name || "(without parameters)",
      part.parameters,
      part.multiplyAdds / 1e9,
      (100 * part.multiplyAdds) / (multiplyAdds || 1),
    ]),
  ),
);
print(`
Parameters:     ${parameters.toLocaleString("en")}
Model size:     ${((4 * parameters) / 1e6).toFixed(1)} MB as float32
Multiply-adds:  ${giga(multiplyAdds)}e9 (what papers often call FLOPs)
FLOPs:          ${giga(2 * multiplyAdds)}e9 (a multiply-add is two)
Counted are convolutions, transposed convolutions and matrix products of one forward pass, for all outputs; norms,
activations and resampling are not.`);
