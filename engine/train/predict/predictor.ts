/** Whole-image prediction from patch-based networks, shared by training and scripts/predict.ts. */
import { compile } from "../../compile/mod.ts";
import { firstNotFinite } from "../../core/dtype.ts";
import { check, VoxgradError } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import { axisCodes } from "../../imaging/volume/affine.ts";
import { preprocessImage } from "../../imaging/prepare/preprocess.ts";
import { outputChannels } from "../../imaging/plan/plan.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { resampledShape, resamplingOrders } from "../../imaging/prepare/resample.ts";
import { labelsOf, resampledPlanes, SourceVolume, toProbabilities } from "../../imaging/prepare/restore.ts";
import { slidingWindowCost, slidingWindowSlabs } from "../../imaging/prepare/sliding_window.ts";
import { voxelCount } from "../../imaging/volume/volume.ts";
import type { Triple, Volume } from "../../imaging/volume/volume.ts";
import { arange, tensor, zeros } from "../../ops/elementwise/creation.ts";
import { add, greater, mul, sub, where } from "../../ops/elementwise/elementwise.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { slice } from "../../ops/shape/slice.ts";
import { take } from "../../ops/shape/take.ts";

/** A network as in models/. */
export interface Network {
  /** Logits [N, K, d, h, w] of images [N, C, d, h, w], or a list of them, finest first. */
  apply(params: object, image: Tensor, options?: { train?: boolean }): Tensor | readonly Tensor[];
  /**
   * Number of leading outputs that together form the background; default 1. Each is averaged separately: a voxel is
   * background if one of them is the most likely output, and the background probability is their sum.
   */
  readonly backgrounds?: number;
}

/** Input and output specification of a network. */
export interface Task {
  readonly plan: Plan;
}

/** One configuration of an ensemble: a network, and the parameters of one or more trainings of it (its folds). */
export interface Member extends Task {
  readonly network: Network;
  readonly params: readonly object[];
}

export interface SegmentOptions {
  /** Stride as a fraction of the patch; default 0.5. */
  readonly step?: number;
  /** Patches per call of the network; default 1. */
  readonly batch?: number;
  /** Axes of the patch for mirroring (test-time augmentation): predictions of all 2^k mirror images are averaged. */
  readonly mirror?: readonly number[];
  /** Called with the number of network calls done and in total. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Peak memory of a prediction in bytes, in addition to what the process already holds. */
export interface PredictionMemory {
  /** The prepared image, logits of a patch's depth, the result. */
  readonly host: number;
  /** The networks' programs with their activations. */
  readonly device: number;
  /** Elements of the largest array on the host. */
  readonly elements: number;
}

export interface Predictor {
  /**
   * Labels of an image on its grid, as a Uint8Array volume. With `probabilities` also a float32 volume with a channel
   * for each label or region; outside the non-zero region the background has probability 1.
   */
  predict(image: Volume, options?: { probabilities?: boolean }): Promise<{ labels: Volume; probabilities?: Volume }>;
  /** Memory that `predict` of such an image will need. Compiles the networks. */
  memory(image: Volume, options?: { probabilities?: boolean }): Promise<PredictionMemory>;
}

const logitsOf = (network: Network, params: object, image: Tensor): Tensor => {
  const logits = network.apply(params, image, { train: false });
  return logits instanceof Tensor ? logits : logits[0];
};

/** x [N, K, d, h, w] mirrored along the spatial axes whose flag [3] is above 0. */
function mirrored(x: Tensor, flags: Tensor, axes: readonly number[]): Tensor {
  return axes.reduce((y, axis) => {
    const n = y.shape[axis + 2];
    const flag = reshape(slice(flags, { start: [axis], end: [axis + 1] }), { shape: [1] });
    const voxels = where(greater(flag, 0), sub(n - 1, arange(n)), arange(n));
    return take(y, voxels, { axis: axis + 2 });
  }, x);
}

/** Number of outputs of a network for a plan. */
const outputsOf = ({ network: { backgrounds = 1 }, plan }: Member): number => outputChannels(plan) + backgrounds - 1;

/** Outputs [classes, n] with the background outputs merged into one: their maximum, or their sum. */
function mergeBackgrounds(
  outputs: Float32Array<ArrayBuffer>,
  backgrounds: number,
  count: number,
  how: "max" | "sum",
): Float32Array<ArrayBuffer> {
  if (backgrounds === 1) return outputs;
  const merged = outputs.slice((backgrounds - 1) * count);
  for (let i = 0; i < count; i++) {
    let all = outputs[i];
    for (let k = 1; k < backgrounds; k++) {
      const other = outputs[k * count + i];
      all = how === "sum" ? all + other : Math.max(all, other);
    }
    merged[i] = all;
  }
  return merged;
}

/** Logits of patches by one configuration: the mean over its parameters and mirror images, in one program. */
class Forward {
  readonly member: Member;
  readonly #shape: readonly number[];
  readonly #classes: number;
  readonly #flags: Float32Array<ArrayBuffer>[];
  #bytes: Promise<number> | undefined;
  readonly #plain;
  readonly #joint;

  constructor(member: Member, batch: number, axes: readonly number[]) {
    const { network, plan } = member;
    this.member = member;
    this.#shape = [batch, plan.channels.length, ...plan.patch];
    this.#classes = outputsOf(member);
    this.#flags = Array.from({ length: 2 ** axes.length }, (_, bits) => {
      const flags = new Float32Array(3);
      axes.forEach((axis, k) => (flags[axis] = (bits >> k) & 1));
      return flags;
    });
    this.#plain = compile((params: object, image: Tensor) => logitsOf(network, params, image));
    const more = (params: object, image: Tensor, flags: Tensor, sum: Tensor, share: Tensor): Tensor => {
      const logits = logitsOf(network, params, mirrored(image, flags, axes));
      return add(sum, mul(mirrored(logits, flags, axes), share));
    };
    this.#joint = compile(more, { donate: [3] });
  }

  get #times(): number {
    return this.member.params.length * this.#flags.length;
  }

  #noLogits(): Tensor {
    const [batch, , ...patch] = this.#shape;
    return zeros([batch, this.#classes, ...patch]);
  }

  async run(patches: Float32Array<ArrayBuffer>, scan: string): Promise<Float32Array> {
    using image = tensor(patches, { shape: this.#shape });
    const { params } = this.member;
    if (this.#times === 1) {
      using logits = await this.#plain(params[0], image);
      return await this.#checked(logits, scan);
    }
    let sum = this.#noLogits();
    for (const own of params) {
      for (const flags of this.#flags) {
        using turned = tensor(flags);
        sum = await this.#joint(own, image, turned, sum, 1 / this.#times);
      }
    }
    try {
      return await this.#checked(sum, scan);
    } finally {
      sum.dispose();
    }
  }

  async #checked(logits: Tensor, scan: string): Promise<Float32Array> {
    if (logits.shape[1] !== this.#classes) {
      throw new VoxgradError(`segmenter: the network gives ${logits}, the plan wants ${this.#classes} channels`);
    }
    const values = (await logits.data()) as Float32Array;
    const at = firstNotFinite(values);
    if (at >= 0) {
      throw new VoxgradError(
        `predictor: ${scan}: the network gives ${
          values[at]
        }, which says nothing of any class; its weights are broken, or the ` +
          "values of the scan are far from those that it was trained on",
      );
    }
    return values;
  }

  /** Bytes of the program. */
  bytes(): Promise<number> {
    return (this.#bytes ??= this.#measure());
  }

  async #measure(): Promise<number> {
    const image = zeros(this.#shape);
    const params = this.member.params[0];
    const info = this.#times === 1
      ? await this.#plain.plan(params, image)
      : await this.#joint.plan(params, image, zeros([3]), this.#noLogits(), 1);
    return info.peakBytes;
  }
}

/** The mean of arrays; a single array is returned itself. */
function meanOf([first, ...others]: readonly Float32Array<ArrayBuffer>[]): Float32Array<ArrayBuffer> {
  if (others.length === 0) return first;
  const mean = first.slice();
  for (const other of others) for (let i = 0; i < mean.length; i++) mean[i] += other[i];
  for (let i = 0; i < mean.length; i++) mean[i] /= others.length + 1;
  return mean;
}

/** Size of an image prepared by a plan, without cropping. */
function preparedShape(image: Volume, plan: Plan): Triple {
  const codes = axisCodes(image.affine);
  const from = ["LR", "PA", "IS"].map((pair) => [...codes].findIndex((letter) => pair.includes(letter)));
  const along = (values: Triple): Triple => {
    const [x, y, z] = plan.orientation === "RAS" ? from.map((k) => values[k]) : values;
    const [a, b, c] = plan.transpose.map((k) => [z, y, x][k]);
    return [a, b, c];
  };
  return resampledShape(along(image.shape), along(image.spacing), plan.spacing);
}

/** Throws for configurations whose results have different planes or labels. */
function checkMembers(members: readonly Member[]): void {
  check(members.length > 0, "predictor", () => "there is no network; give at least one");
  for (const { network: { backgrounds = 1 }, plan } of members) {
    const right = Number.isInteger(backgrounds) && backgrounds >= 1 && (backgrounds === 1 || !plan.regions);
    check(
      right,
      "predictor",
      () => `backgrounds is an integer >= 1, and 1 where there are regions, got ${backgrounds}`,
    );
  }
  const said = ({ plan }: Member, key: "labels" | "regions" | "transpose" | "orientation" | "channels"): string =>
    JSON.stringify(key === "channels" ? plan.channels.map((channel) => channel.name) : plan[key]);
  for (const member of members.slice(1)) {
    for (const key of ["labels", "regions", "transpose", "orientation", "channels"] as const) {
      check(
        said(member, key) === said(members[0], key),
        "predictor",
        () =>
          `the networks differ in ${key}: ${said(members[0], key)} and ${said(member, key)}; predict with each alone`,
      );
    }
  }
}

/**
 * Whole-image prediction by one network, or the mean of several: the image is prepared by each plan, overlapping
 * patches are predicted with Gaussian weights, and logits are resampled to the image's grid by linear interpolation,
 * plane by plane; each voxel gets its most likely class (with regions, the last one above one half). Logits are
 * averaged over patches, mirror images and the parameters of a member, as in nnU-Net; probabilities are averaged over
 * members, and over the trainings of a network with several background outputs, whose meaning differs between
 * trainings. Memory holds a few planes of logits, whatever the size of the image.
 *
 * @throws VoxgradError if the members' plans differ in labels, channels or axes
 * @example
 * ```ts
 * import { loadParameters, random } from "voxgrad";
 * import { readVolume } from "voxgrad/imaging";
 * import { networkFromPlan } from "voxgrad/models";
 * import { loadModel, predictor } from "voxgrad/train";
 *
 * const { description: { plan }, tensors } = await loadModel("runs/liver/fold_0");
 * const network = networkFromPlan(plan);
 * const params = loadParameters(network.init(random.key(0)), tensors);
 * const { predict } = predictor([{ network, params: [params], plan }], { mirror: [0, 1, 2] });
 * const { labels } = await predict(await readVolume("scan.nii.gz"));
 * ```
 */
export function predictor(members: readonly Member[], options: SegmentOptions = {}): Predictor {
  const { step, batch = 1, mirror = [] } = options;
  checkMembers(members);
  check(
    mirror.every((axis) => [0, 1, 2].includes(axis)) && new Set(mirror).size === mirror.length,
    "predictor",
    () => `mirror lists axes 0, 1, 2 of the patch, got ${mirror.join(", ")}`,
  );
  const alone = members.flatMap((member) =>
    (member.network.backgrounds ?? 1) > 1
      ? member.params.map((own): Member => ({ ...member, params: [own] }))
      : [member]
  );
  const forwards = alone.map((member) => new Forward(member, batch, mirror));
  const { plan } = members[0];
  const classes = outputChannels(plan);
  const window = (member: Member) => ({ patch: member.plan.patch, step, batch, classes: outputsOf(member) });

  /** Planes of logits at the crop's spacing, by one member. */
  async function start(forward: Forward, image: Volume, onProgress: (done: number, total: number) => void) {
    const own = forward.member.plan;
    const { image: data, shape, geometry } = await preprocessImage(image, own);
    const slabs = slidingWindowSlabs(
      { data, shape: [own.channels.length, ...shape] },
      { ...window(forward.member), predict: (patches) => forward.run(patches, image.name), onProgress },
    );
    const { cropSize: to, cropSpacing } = geometry;
    const order = resamplingOrders(1, own.resampling, own.spacing, cropSpacing) as (0 | 1)[];
    const { backgrounds = 1 } = forward.member.network;
    return {
      geometry,
      backgrounds,
      planes: resampledPlanes(slabs, { classes: outputsOf(forward.member), from: shape, to, order }),
    };
  }

  return {
    async predict(image, { probabilities: wanted = false } = {}) {
      const runs = [];
      for (const [k, forward] of forwards.entries()) {
        // All members advance together, so the first reports progress.
        runs.push(await start(forward, image, k === 0 ? (options.onProgress ?? (() => {})) : () => {}));
      }
      const { geometry } = runs[0];
      const labels = new SourceVolume((length) => new Uint8Array(length), geometry);
      const channels = classes;
      const certain = (length: number): Float32Array<ArrayBuffer> => {
        const data = new Float32Array(length);
        return plan.regions ? data : data.fill(1, 0, length / channels);
      };
      const probabilities = wanted ? new SourceVolume(certain, geometry, { channels }) : undefined;
      const asProbabilities = wanted || runs.length > 1;
      for (let index = 0; index < geometry.cropSize[0]; index++) {
        const count = geometry.cropSize[1] * geometry.cropSize[2];
        // Scores for the label and probabilities to save differ if the background has several outputs.
        const [deciding, saved]: Float32Array<ArrayBuffer>[][] = [[], []];
        for (const { planes, backgrounds } of runs) {
          const outputs = (await planes.next()).value as Float32Array<ArrayBuffer>;
          if (asProbabilities) toProbabilities(outputs, plan, { classes: outputs.length / count });
          deciding.push(mergeBackgrounds(outputs, backgrounds, count, "max"));
          if (probabilities) {
            saved.push(backgrounds === 1 ? deciding.at(-1)! : mergeBackgrounds(outputs, backgrounds, count, "sum"));
          }
        }
        const chosen = meanOf(deciding);
        labels.set(index, labelsOf(chosen, plan, { threshold: asProbabilities ? 0.5 : 0 }));
        probabilities?.set(index, saved.every((own, k) => own === deciding[k]) ? chosen : meanOf(saved));
      }
      return {
        labels: labels.finish(`labels of ${image.name}`),
        ...(probabilities && { probabilities: probabilities.finish(`probabilities of ${image.name}`) }),
      };
    },

    async memory(image, { probabilities = false } = {}) {
      const voxels = voxelCount(image.shape);
      // Reorienting to RAS and back copies the scan before, and the result after.
      const turned = plan.orientation === "RAS" && axisCodes(image.affine) !== "RAS";
      const result = voxels * (1 + (probabilities ? 4 * classes : 0)) * (turned ? 2 : 1);
      const before = turned ? image.data.byteLength : 0;
      let [prepared, windows, device, elements] = [0, 0, 0, voxels * (probabilities ? classes : 1)];
      for (const forward of forwards) {
        const own = forward.member.plan;
        const channels = own.channels.length;
        const shape = preparedShape(image, own);
        const size = voxelCount(shape);
        elements = Math.max(elements, channels * size);
        prepared += 4 * channels * (size + (size === voxels ? 0 : voxels));
        windows += slidingWindowCost([channels, ...shape], window(forward.member)).bytes;
        device += await forward.bytes();
      }
      const host = prepared + Math.max(before, windows + result);
      return { host, device, elements };
    },
  };
}

/**
 * A function that labels images with one network, as `predictor` does.
 *
 * @returns (image) -> labels as Uint8Array volume on the image's grid, with its affine
 * @throws VoxgradError if an image has other channels than the plan
 * @example
 * ```ts
 * import { loadParameters, random } from "voxgrad";
 * import { readVolume } from "voxgrad/imaging";
 * import { networkFromPlan } from "voxgrad/models";
 * import { loadModel, segmenter } from "voxgrad/train";
 *
 * const { description: { plan }, tensors } = await loadModel("runs/liver/fold_0");
 * const network = networkFromPlan(plan);
 * const segment = segmenter(network, loadParameters(network.init(random.key(0)), tensors), { plan });
 * const labels = await segment(await readVolume("scan.nii.gz"));
 * ```
 */
export function segmenter(
  network: Network,
  params: object,
  task: Task,
  options: SegmentOptions = {},
): (image: Volume) => Promise<Volume> {
  const { predict } = predictor([{ network, params: [params], plan: task.plan }], options);
  return async (image) => (await predict(image)).labels;
}
