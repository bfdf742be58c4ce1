// Writes a trained network as an ONNX model, for other programs, with its plan among the file's metadata.
// `npx voxgrad export runs/phantom-001 network.onnx`
import { closeDevice, loadParameters, type Params, random, type Tensor, zeros } from "../engine/mod.ts";
import { inputChannels } from "../engine/imaging/mod.ts";
import {
  config,
  ConfigError,
  entry,
  findModels,
  loadModel,
  print,
  refuseUnused,
  RunFolder,
} from "../engine/train/mod.ts";
import { exportOnnx, exportTrained, networkOf } from "../models/mod.ts";

const options = config({
  run: entry("", "run folder of one fold, or model.safetensors", { positional: true }),
  output: entry("", "the file to write, NAME.onnx", { positional: true }),
  patch: entry([], "voxels of the input, in the order of the plan; default: the plan's patch", {
    integer: true,
    min: 1,
    lengths: [0, 2, 3],
  }),
  batch: entry(1, "patches at once", { integer: true, min: 1 }),
});
for (const key of ["run", "output"] as const) {
  if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
}
const [, folder, name] = /^(?:(.*)\/)?([^/]+\.onnx)$/.exec(options.output) ?? [];
if (name === undefined) {
  throw new ConfigError(`--output is the name of a file that ends with .onnx, got ${options.output}`);
}

const { files } = await findModels(options.run);
if (files.length > 1) throw new ConfigError(`${options.run} holds ${files.length} networks; name one: ${files[0]}`);
const loaded = await loadModel(files[0]);
const { description } = loaded;

/** The file, and what it takes. */
async function exported(): Promise<{ bytes: Uint8Array; input: string }> {
  if (description.network === "onnx") {
    const own = "the graph of the file that was trained says it";
    refuseUnused(options, { patch: own, batch: own });
    return { bytes: await exportTrained(loaded), input: "as in the file that was trained" };
  }
  const { tensors, file } = loaded;
  const model = networkOf(description, file);
  const params = loadParameters(model.init(random.key(0)), tensors) as Params;
  const { plan } = description;
  const patch = options.patch.length > 0 ? options.patch : plan.patch;
  const input = zeros([options.batch, inputChannels(plan), ...patch]);
  // Of networks with outputs at several scales the finest.
  const logits = (p: Params, given: Readonly<Record<string, Tensor>>): Tensor =>
    [model.apply(p, given.input)].flat()[0];
  const metadata = { voxgrad: JSON.stringify(description) };
  return { bytes: await exportOnnx(logits, params, { input }, { metadata }), input: input.shape.join(" x ") };
}

const { bytes, input } = await exported();
const output = new RunFolder(folder ?? ".");
await output.write(name, bytes);
const opset = description.network === "onnx" ? "" : ", opset 17";
print(`${description.network}, input ${input}, ${(bytes.length / 1e6).toFixed(1)} MB${opset}`);
print(`\nWritten:\n${output.listing()}`);
await closeDevice();
