// Parameters, size and arithmetic of a network, part by part: of a training's network, or of one described here.
// Nothing is run, so any size will do. `npx voxgrad summary runs/phantom-001`, or
// `npx voxgrad summary --network conResNet --arm full --channels 4 --classes 3 --patch 80,160,160`
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
import { networkOf, registeredNetworks, summarizeNetwork } from "../models/mod.ts";

const networks = [...registeredNetworks()].flatMap(([name, { summary }]) => summary ? [{ name, ...summary }] : []);
networks.sort((a, b) => (a.name < b.name ? -1 : 1));
// Which options the networks add is known at run time alone.
// deno-lint-ignore no-explicit-any
const options: Readonly<Record<string, any>> = config({
  model: entry("", "run folder or model.safetensors; without it the network is described by what follows", {
    positional: true,
  }),
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

/** What is asked for: the network's name, the argument of its constructor, and where it has one its plan. */
async function asked(): Promise<Pick<ModelDescription, "network" | "architecture"> & { plan?: Plan; file: string }> {
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

const { plan, file, ...found } = await asked();
const model = networkOf(found, file);
const { inputChannels } = found.architecture as { inputChannels: number };
if (!(inputChannels >= 1)) throw new ConfigError(`${file}: its architecture does not say how many channels it takes`);
const patch = options.patch.length > 0 ? options.patch : (plan?.patch ?? [128, 128, 128]);
const input = [1, inputChannels, ...patch];
const summary = summarizeNetwork(model, { input, ...(options.depth > 0 && { depth: options.depth }) });

const { parameters, multiplyAdds } = summary;
const by = (shape: readonly number[]): string => shape.join(" x ");
const giga = (count: number): string => (count / 1e9).toFixed(count < 1e8 ? 4 : 1);
print(`${found.network}, input ${by(input)}; outputs ${summary.outputs.map(by).join(", ")}\n`);
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
