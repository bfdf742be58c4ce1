/** Opens models of any kind, by what their files say. */
import { check, checkOptions, loadModel, modelFiles, readPostprocessing, show } from "../../engine/segmenting.ts";
import type { FileSource, ModelSource, Postprocessing } from "../../engine/train/mod.ts";
import { ENCODER } from "../alpnet/network_name.ts";
import { registeredNetworks } from "../known_networks.ts";
import type { foreignModel, ForeignOptions } from "./foreign_model.ts";
import type { openNnunet } from "./nnunet_model.ts";
import type { oneShotModel, OneShotModelOptions } from "./one_shot_model.ts";
import type { MirrorAxes, SegmentationModel, WriteVolume } from "./segmentation_model.ts";
import { type Loaded, windowModel, type WindowOptions } from "./window_model.ts";

export interface OpenModelOptions {
  /** Distance of neighboring patches as a fraction of the patch; default 0.5. */
  readonly step?: WindowOptions["step"];
  /** Patches, or slices of an encoder, at once; default 1, of an encoder 8. */
  readonly batch?: WindowOptions["batch"];
  /**
   * Average over mirror images along these axes of the oriented scan; default "none", of what nnU-Net trained the axes
   * of its training.
   */
  readonly mirror?: WindowOptions["mirror"];
  /**
   * How scans are prepared, for models of ONNX and TensorFlow.js that voxgrad did not export: a plan, or of its entries
   * at least spacing and channels; the others are the model's sizes and nnU-Net's defaults.
   */
  readonly plan?: ForeignOptions["plan"];
  /** Files of weights beside such a model by the names that it has for them; by default they are read beside it. */
  readonly external?: ForeignOptions["external"];
  /** Which configuration of several in a folder or zip of nnU-Net, such as "3d_fullres". */
  readonly configuration?: string;
  /**
   * Apply the postprocessing.json of a run folder, or the postprocessing.pkl of nnU-Net's cross-validation, where it
   * has one; default true.
   */
  readonly postprocess?: boolean;
  /** Take scans whose voxels are ten times larger or smaller than those of the training; default false. */
  readonly anySpacing?: boolean;
  /**
   * Of an encoder, as what follows, by default as it was measured: which slices of the support are used, one for each
   * part of a class, the labeled ones nearest in height, or the one that shows most.
   */
  readonly slices?: OneShotModelOptions["slices"];
  /** Parts of a class along the slices. */
  readonly chunks?: OneShotModelOptions["chunks"];
  /** How many of the nearest slices. */
  readonly nearest?: OneShotModelOptions["nearest"];
  /** Edge of a prototype's window in features. */
  readonly window?: OneShotModelOptions["window"];
  /** Edge of the square that a class must contain to have local prototypes. */
  readonly probe?: OneShotModelOptions["probe"];
  /** Local prototypes, or one for each class. */
  readonly prototypes?: OneShotModelOptions["prototypes"];
  /** Weight of where a prototype lies, and the share of the longer edge over which places count as near. */
  readonly place?: OneShotModelOptions["place"];
  readonly placeSigma?: OneShotModelOptions["placeSigma"];
  /** Share of the longer edge by which the masks of the support are blurred to say where to look; 0: not. */
  readonly prior?: OneShotModelOptions["prior"];
  /** What places are relative to. */
  readonly frame?: OneShotModelOptions["frame"];
  /** Scans are cropped around a structure and aligned alike: nearest slices, places and a prior. */
  readonly aligned?: OneShotModelOptions["aligned"];
}

const COMMON = ["batch", "anySpacing"];
const OF_WINDOWS = ["step", "mirror", "postprocess", "plan", "external", "configuration"];
const OF_ENCODERS = [
  ...["slices", "chunks", "nearest", "window", "probe", "prototypes"],
  ...["place", "placeSigma", "prior", "frame", "aligned"],
];
const MIRRORS = ["none", "xyz", "xy", "xz", "yz", "x", "y", "z"];

/** What only some models and calls need, which pages load when they do. */
export interface Parts {
  /** Registers the networks beside the U-Net. */
  readonly otherNetworks: () => unknown;
  /** Registers graphs of ONNX files. */
  readonly onnxNetwork: () => unknown;
  readonly oneShotModel: typeof oneShotModel;
  readonly foreignModel: typeof foreignModel;
  readonly openNnunet: typeof openNnunet;
  readonly writeVolume: WriteVolume;
}

/**
 * The name of a file of ONNX (NAME.onnx) or TensorFlow.js (NAME.json); undefined for others. Of bytes without a name
 * those of ONNX begin with its first field, a version.
 */
function foreignName(source: FileSource): string | undefined {
  const name = typeof source === "string"
    ? source
    : "href" in source
    ? source.href
    : "name" in source
    ? String(source.name)
    : "";
  const path = /^[a-z]+:/i.test(name) ? name.replace(/[?#].*$/, "") : name;
  if (/\.(?:onnx|json)$/i.test(path)) return path;
  if (!(source instanceof Uint8Array)) return undefined;
  if (source[0] === 8 && source[1] < 32 && source[2] === 18) return "data";
  return source[0] === BRACE ? "data.json" : undefined;
}
const BRACE = 0x7b;

/** Models that were read from their files. */
interface Read {
  readonly loaded: readonly Loaded[];
  /** Of each source that is a folder or a path. */
  readonly folders: readonly (string | undefined)[];
  /** How many of the sources nnU-Net trained, and what else is known of them. */
  readonly nnunet: number;
  readonly trained?: Awaited<ReturnType<typeof openNnunet>>;
}

type ReadOptions = Pick<OpenModelOptions, "plan" | "external" | "configuration" | "mirror">;

/**
 * Reads the models of some sources.
 *
 * @param caller names the function that was called, in messages
 * @param windowed makes the model of a cascade's first stage
 */
export async function readModels(
  caller: string,
  sources: readonly ModelSource[],
  options: ReadOptions,
  { otherNetworks, onnxNetwork, foreignModel, openNnunet }: Omit<Parts, "oneShotModel" | "writeVolume">,
  windowed: (loaded: readonly Loaded[], mirror: MirrorAxes) => SegmentationModel,
): Promise<Read> {
  const { files, folders, nnunet } = await modelFiles(sources);
  check(files.length + nnunet.length > 0, caller, () => "the list of models is empty; give at least one");
  const loaded: Loaded[] = [];
  const onNetwork = (name: string): unknown => {
    if (registeredNetworks().has(name)) return undefined;
    return name === "onnx" ? onnxNetwork() : otherNetworks();
  };
  const { plan, external } = options;
  for (const file of files) {
    const name = foreignName(file);
    if (name !== undefined) loaded.push(await foreignModel(file, name, { plan, external }));
    else {
      check(
        plan === undefined,
        caller,
        () => "plan is for ONNX models and those of TensorFlow.js; this model holds its own",
      );
      loaded.push(await loadModel(file, { onNetwork }));
    }
  }
  if (nnunet.length === 0 && options.configuration === undefined) return { loaded, folders, nnunet: 0 };
  const trained = await openNnunet(nnunet, { ...options, others: loaded.length }, windowed);
  return { loaded: [...loaded, ...trained.loaded], folders, nnunet: nnunet.length, trained };
}

/** openModel, given its parts. */
export async function openAny(
  source: ModelSource | readonly ModelSource[],
  options: OpenModelOptions,
  { oneShotModel, writeVolume, ...parts }: Parts,
): Promise<SegmentationModel> {
  checkOptions("openModel", options, [...COMMON, ...OF_WINDOWS, ...OF_ENCODERS]);
  const { postprocess = true, mirror } = options;
  check(
    mirror === undefined || MIRRORS.includes(mirror),
    "openModel",
    () => `mirror is one of ${MIRRORS.join(", ")}, got ${show(options.mirror)}`,
  );
  const sources = Array.isArray(source) ? source as readonly ModelSource[] : [source as ModelSource];
  const { step, batch, anySpacing } = options;
  const windowed = (own: readonly Loaded[], mirror: MirrorAxes, rule?: Postprocessing): SegmentationModel =>
    windowModel(own, rule, { step, batch, anySpacing, mirror }, writeVolume);
  const { loaded, folders, nnunet, trained } = await readModels("openModel", sources, options, parts, windowed);
  const encoder = loaded.find(({ description }) => description.network === ENCODER);
  const odd = Object.keys(options).find((key) => (encoder ? OF_WINDOWS : OF_ENCODERS).includes(key));
  if (encoder) {
    const what = `${encoder.file} holds an encoder, which compares a scan with labeled ones (the support of segment, ` +
      "the command segment_one_shot)";
    check(odd === undefined, "openModel", () => `${what} and takes no ${odd}`);
    check(loaded.length === 1, "openModel", () => `${what} and is used alone; the list holds other models`);
    return oneShotModel(encoder, options, writeVolume);
  }
  check(odd === undefined, "openModel", () => `${odd} is an option of encoders; this model takes none`);
  // The rule that validation chose: that of the run, or of several runs none.
  const [folder] = folders;
  const alone = postprocess && folders.length + nnunet === 1;
  const rule = !alone ? undefined : folder !== undefined ? await readPostprocessing(folder) : trained?.rule;
  return windowed(loaded, trained?.mirror ?? mirror ?? "none", rule);
}
