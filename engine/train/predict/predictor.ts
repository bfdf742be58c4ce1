/** Whole-image prediction from patch-based networks, shared by training and scripts/predict.ts. */
import { check } from "../../core/errors.ts";
import { axisCodes } from "../../imaging/volume/affine.ts";
import { preprocessImage } from "../../imaging/prepare/preprocess.ts";
import { inputChannels, outputChannels, preparedSpacing } from "../../imaging/plan/plan.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { resampledShape, resamplingOrders } from "../../imaging/prepare/resample.ts";
import { labelsOf, resampledPlanes, SourceVolume, toProbabilities } from "../../imaging/prepare/restore.ts";
import { slidingWindowCost, slidingWindowSlabs } from "../../imaging/prepare/sliding_window.ts";
import { voxelCount } from "../../imaging/volume/volume.ts";
import type { Triple, Volume } from "../../imaging/volume/volume.ts";
import { Forward } from "./forward.ts";
import type { Member, Network, Task } from "./forward.ts";

export interface SegmentOptions {
  /** Stride as a fraction of the patch; default 0.5. */
  readonly step?: number;
  /** Patches per call of the network; default 1. */
  readonly batch?: number;
  /** Axes of the patch for mirroring (test-time augmentation): predictions of all 2^k mirror images are averaged. */
  readonly mirror?: readonly number[];
  /**
   * Bytes that logits of a patch's depth may take on the host; default 2 GiB. Beyond that, of a network whose last
   * layer is a convolution of single voxels, that layer is applied to averages of what it takes: labels differ where
   * classes are equal to rounding.
   */
  readonly logitMemory?: number;
  /** Called with the number of network calls done and in total. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Ends predictions within one patch: they reject with its reason, and what they held is freed. */
  readonly signal?: StopSignal;
}

/** What is used of an AbortSignal. */
export interface StopSignal {
  throwIfAborted(): void;
}

/** Options of one prediction. */
export interface PredictOptions extends Pick<SegmentOptions, "onProgress" | "signal"> {
  /** Whether probabilities are wanted too; default false. */
  readonly probabilities?: boolean;
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
   * for each label or region; outside the non-zero region the background has probability 1. Predictions may run at
   * the same time. `signal` and `onProgress` take the place of the predictor's.
   */
  predict(image: Volume, options?: PredictOptions): Promise<{ labels: Volume; probabilities?: Volume }>;
  /** Memory that `predict` of such an image will need. Compiles the networks. */
  memory(image: Volume, options?: { probabilities?: boolean }): Promise<PredictionMemory>;
  /** Frees the programs of the networks and their parameters, which are no longer valid. */
  dispose(): void;
}

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
  const spacing = along(image.spacing);
  return resampledShape(along(image.shape), spacing, preparedSpacing(plan, spacing));
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
  const { step, batch = 1, mirror = [], logitMemory = 2 ** 31 } = options;
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
  const window = (forward: Forward, apart: boolean) => ({
    patch: forward.member.plan.patch,
    step,
    batch,
    classes: forward.channels(apart),
  });
  const preparedOf = (image: Volume, plan: Plan): number[] => [inputChannels(plan), ...preparedShape(image, plan)];
  /** Whether features are averaged in place of logits, which would take too much memory. */
  const isApart = (forward: Forward, image: Volume): boolean =>
    slidingWindowCost(preparedOf(image, forward.member.plan), window(forward, false)).bytes > logitMemory &&
    forward.shrinks;

  /** Planes of logits at the crop's spacing, by one member. */
  async function start(forward: Forward, image: Volume, { onProgress, signal }: PredictOptions) {
    const stop = (): void => signal?.throwIfAborted();
    stop();
    const own = forward.member.plan;
    const apart = isApart(forward, image);
    const previous = await forward.member.previous?.(image, {
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    });
    stop();
    const { image: data, shape, geometry } = await preprocessImage(image, own, previous);
    const slabs = slidingWindowSlabs(
      { data, shape: [inputChannels(own), ...shape] },
      {
        ...window(forward, apart),
        predict: (patches) => forward.run(patches, image.name, stop, apart),
        onProgress: (done, total) => {
          stop();
          onProgress?.(done, total);
        },
      },
    );
    const { cropSize: to, cropSpacing } = geometry;
    const from = preparedSpacing(own, cropSpacing);
    const order = resamplingOrders(1, own.resampling, from, cropSpacing) as (0 | 1)[];
    const { backgrounds = 1 } = forward.member.network;
    const planes = resampledPlanes(slabs, { classes: forward.channels(apart), from: shape, to, order });
    return { geometry, backgrounds, planes, ...(apart && { head: forward }) };
  }

  /** Labels, and probabilities if wanted, from planes of logits of all members. */
  async function label(image: Volume, runs: readonly Awaited<ReturnType<typeof start>>[], wanted: boolean) {
    const { geometry } = runs[0];
    const labels = new SourceVolume((length) => new Uint8Array(length), geometry);
    const channels = classes;
    const certain = (length: number): Float32Array<ArrayBuffer> => {
      const data = new Float32Array(length);
      return plan.regions ? data : data.fill(1, 0, length / channels);
    };
    const probabilities = wanted ? new SourceVolume(certain, geometry, { channels }) : undefined;
    const asProbabilities = wanted || runs.length > 1;
    const size = [geometry.cropSize[1], geometry.cropSize[2]] as const;
    const count = size[0] * size[1];
    const [{ head: only, planes: first, backgrounds: several }] = runs;
    const direct = runs.length === 1 && !asProbabilities && !plan.regions && several === 1 ? only : undefined;
    for (let index = 0; index < geometry.cropSize[0]; index++) {
      if (direct) {
        labels.set(index, await direct.labels((await first.next()).value as Float32Array<ArrayBuffer>, size));
        continue;
      }
      // Scores for the label and probabilities to save differ if the background has several outputs.
      const [deciding, saved]: Float32Array<ArrayBuffer>[][] = [[], []];
      for (const { planes, backgrounds, head } of runs) {
        const plane = (await planes.next()).value as Float32Array<ArrayBuffer>;
        const outputs = head ? await head.logits(plane, size) : plane;
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
  }

  return {
    async predict(image, own = {}) {
      const { probabilities: wanted = false, signal = options.signal, onProgress = options.onProgress } = own;
      const runs: Awaited<ReturnType<typeof start>>[] = [];
      for (const [k, forward] of forwards.entries()) {
        // All members advance together, so the first reports progress.
        runs.push(await start(forward, image, { signal, ...(k === 0 && { onProgress }) }));
      }
      try {
        return await label(image, runs, wanted);
      } finally {
        // An error of one leaves the others in the middle of their windows.
        for (const { planes } of runs) await planes.return(undefined);
      }
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
        const channels = inputChannels(own);
        const apart = isApart(forward, image);
        const shape = preparedShape(image, own);
        const size = voxelCount(shape);
        elements = Math.max(elements, channels * size);
        prepared += 4 * channels * (size + (size === voxels ? 0 : voxels));
        windows += slidingWindowCost([channels, ...shape], window(forward, apart)).bytes;
        device += await forward.bytes(apart);
        // Logits of one plane, and their way to the host.
        if (apart) device += 8 * forward.channels(false) * Math.max(...[0, 1, 2].map((k) => voxels / image.shape[k]));
      }
      const host = prepared + Math.max(before, windows + result);
      return { host, device, elements };
    },

    dispose(): void {
      for (const forward of forwards) forward.dispose();
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
