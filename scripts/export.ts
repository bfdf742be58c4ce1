// Writes a trained network for other programs: as an ONNX model, with its plan among the file's metadata, or as the
// folder of a training of nnU-Net, which nnUNetv2_predict reads.
// `npx voxgrad export runs/phantom-001 network.onnx`
// `npx voxgrad export runs/phantom-001 --nnunet nnUNetTrainer__nnUNetPlans__3d_fullres`
import { closeDevice, loadParameters, type Params, random, type Tensor, zeros } from "../engine/mod.ts";
import { inputChannels } from "../engine/imaging/mod.ts";
import {
  choice,
  config,
  ConfigError,
  entry,
  findModels,
  type LoadedModel,
  loadModel,
  print,
  readPostprocessing,
  refuseUnused,
  RunFolder,
} from "../engine/train/mod.ts";
import { exportOnnx, exportTrained, networkOf } from "../models/mod.ts";
import { exportNnunet } from "../models/nnunet/export.ts";

const options = config({
  run: entry("", "run folder, for ONNX of one fold, or model.safetensors", { positional: true }),
  output: entry("", "the file to write, NAME.onnx", { positional: true }),
  patch: entry([], "voxels of the input, in the order of the plan; default: the plan's patch", {
    integer: true,
    min: 1,
    lengths: [0, 2, 3],
  }),
  batch: entry(1, "patches at once", { integer: true, min: 1 }),
  nnunet: entry("", "a new folder for plans.json, dataset.json and the checkpoints of nnU-Net, instead of NAME.onnx"),
  mirror: choice(
    ["none", "xyz", "xy", "xz", "yz", "x", "y", "z"],
    "of --nnunet: axes of the oriented scan along which nnUNetv2_predict mirrors",
  ),
});
const asOnnx = options.nnunet === "";
for (const key of asOnnx ? ["run", "output"] as const : ["run"] as const) {
  if (options[key] === "") throw new ConfigError(`--${key} is missing; --help lists what is wanted`);
}
const ofOnnx = !asOnnx && "--nnunet writes another format";
refuseUnused(options, {
  output: ofOnnx,
  patch: ofOnnx,
  batch: ofOnnx,
  mirror: asOnnx && "who runs an ONNX model mirrors as he likes",
});

/** Writes the folds of a run, and its rule, as nnU-Net would. */
async function writeNnunet(): Promise<void> {
  const { files, folders } = await findModels(options.run);
  const folds = new Map<string, LoadedModel>();
  for (const path of files) {
    const fold = /(?:^|\/)fold_(\d+)\/[^/]+$/.exec(path)?.[1] ?? "0";
    if (folds.has(fold)) throw new ConfigError(`${options.run} holds two networks of fold ${fold}; name one run`);
    folds.set(fold, await loadModel(path));
  }
  const rule = folders.length === 1 ? await readPostprocessing(folders[0]) : undefined;
  const written = await exportNnunet(folds, { mirror: options.mirror, ...(rule && { rule }) });
  const output = new RunFolder(options.nnunet);
  for (const name of written.keys()) {
    if (await output.has(name)) {
      throw new ConfigError(`--nnunet ${options.nnunet}: ${name} is there; name a new folder`);
    }
  }
  for (const [name, bytes] of written) await output.write(name, bytes);
  const used = `-m ${options.nnunet} -f ${[...folds.keys()].join(" ")}`;
  print(
    `nnUNetv2_predict_from_modelfolder -i SCANS -o LABELS ${used} predicts with it\n\nWritten:\n${output.listing()}`,
  );
}

/** Writes NAME.onnx. */
async function writeOnnx(): Promise<void> {
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
}

await (asOnnx ? writeOnnx() : writeNnunet());
await closeDevice();
