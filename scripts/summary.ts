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
import { conResNetArms, networkOf, summarizeNetwork } from "../models/mod.ts";

const options = config({
  model: entry("", "run folder or model.safetensors; without it the network is described by what follows", {
    positional: true,
  }),
  network: choice(["conResNet", "plainConvUNet", "residualEncoderUNet"], "architecture"),
  arm: choice(
    ["full", "mapping", "baseline"],
    "conResNet: with mapping and attention, without attention, without both",
  ),
  channels: entry(1, "input channels", { integer: true, min: 1 }),
  classes: entry(2, "outputs: labels with the background, or regions", { integer: true, min: 1 }),
  multiClass: entry(false, "conResNet: classes exclude each other, and the background has no residual"),
  unusedLayers: entry(false, "conResNet: also the layers that the published code makes and never uses"),
  features: entry([], "channels at each scale, the finest first; 32,64,128,256 or of U-Nets 32,64,128,256,320,320", {
    integer: true,
    min: 1,
  }),
  blocks: entry([], "residualEncoderUNet: residual blocks of each scale; 1,3,4,6,6,...", { integer: true, min: 1 }),
  deepSupervision: entry(false, "U-Nets: outputs at all scales"),
  patch: entry([], "voxels of the input; that of the plan, or 128,128,128", {
    integer: true,
    min: 1,
    lengths: [0, 2, 3],
  }),
  depth: entry(0, "how many of the dotted names of parameters make a part; 0: up to the first number", {
    integer: true,
    min: 0,
  }),
});

const described = options.model !== "" && "the model file says it";
const { network: chosen } = options;
const [conres, unets] = [chosen !== "conResNet", chosen === "conResNet"].map((other) =>
  described || (other && `--network ${chosen} has none`)
);
refuseUnused(options, {
  network: described,
  channels: described,
  classes: described,
  features: described,
  arm: conres,
  multiClass: conres,
  unusedLayers: conres,
  deepSupervision: unets,
  blocks: unets || (chosen === "plainConvUNet" && "--network plainConvUNet has none"),
});

/** What is asked for: the network's name, the argument of its constructor, and where it has one its plan. */
async function asked(): Promise<Pick<ModelDescription, "network" | "architecture"> & { plan?: Plan; file: string }> {
  if (options.model !== "") {
    const { files } = await findModels(options.model);
    return { ...(await loadModel(files[0])).description, file: files[0] };
  }
  const { network, channels: inputChannels, classes, features, blocks } = options;
  const own = { inputChannels, classes };
  if (network === "conResNet") {
    const { multiClass, unusedLayers } = options;
    const scales = features.length > 0 && { features };
    return {
      network,
      architecture: { ...own, ...scales, ...conResNetArms[options.arm], multiClass, unusedLayers },
      file: "--network",
    };
  }
  const scales = features.length > 0 ? features : [32, 64, 128, 256, 320, 320];
  const blocksPerStage = blocks.length > 0 ? blocks : scales.map((_, s) => [1, 3, 4][s] ?? 6);
  const { deepSupervision } = options;
  const residual = network === "residualEncoderUNet" && { blocksPerStage };
  const dimensions = options.patch.length === 2 ? 2 : 3;
  return {
    network,
    architecture: { ...own, features: scales, deepSupervision, dimensions, ...residual },
    file: "--network",
  };
}

const { plan, file, ...found } = await asked();
const model = networkOf(found, file);
const { inputChannels } = found.architecture;
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
