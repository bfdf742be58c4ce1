/** Labels of whole images from a network that sees patches: the same road after training and in scripts/predict.ts. */
import { compile } from "../compile/mod.ts";
import { Tensor } from "../core/tensor.ts";
import { zScore } from "../imaging/sampling.ts";
import { argmaxLabels, slidingWindow } from "../imaging/sliding_window.ts";
import { tensorShape, volumeLike } from "../imaging/volume.ts";
import type { Volume } from "../imaging/volume.ts";
import { VoxgradError } from "../core/errors.ts";
import { tensor } from "../ops/creation.ts";

/** A network as models/ makes them. */
export interface Network {
  /** Logits [N, K, d, h, w] of images [N, C, d, h, w], or a list of them, finest first. */
  apply(params: any, image: Tensor, options?: any): Tensor | readonly Tensor[];
}

/** What a network was trained to take and to give. */
export interface Task {
  /** Channels of an image. */
  readonly channels: number;
  /** Names of the classes by label, the background first. */
  readonly labels: readonly string[];
  /** Patch of the network, [z, y, x]. */
  readonly patch: readonly number[];
}

/**
 * A function that labels images: z-score per channel, overlapping patches through the network, Gaussian weights, the
 * most likely class of each voxel. The labels lie on the image's grid, with its affine.
 *
 * @param options step: distance of neighbouring patches as a fraction of the patch, 0.5 unless given
 * @returns (image) -> labels as Uint8Array volume
 * @throws VoxgradError when an image has other channels than the network
 * @example const segment = segmenter(model, params, task); const labels = await segment(readNifti(bytes));
 */
export function segmenter(
  network: Network,
  params: any,
  task: Task,
  options: { step?: number } = {},
): (image: Volume) => Promise<Volume> {
  const { channels, labels, patch } = task;
  const forward = compile((weights: any, image: Tensor) => {
    const logits = network.apply(weights, image, { train: false });
    return logits instanceof Tensor ? logits : logits[0];
  });
  const predict = async (patches: Float32Array<ArrayBuffer>): Promise<Float32Array> => {
    // A copy: the window goes on to fill its buffer while the device reads.
    using logits = await forward(params, tensor(patches.slice(), { shape: [1, channels, ...patch] }));
    return (await logits.data()) as Float32Array;
  };
  return async (image) => {
    if (image.channels !== channels) {
      const got = `it has ${image.channels} channel(s)`;
      throw new VoxgradError(`${image.name}: ${got}, the network was trained on ${channels}`);
    }
    const grid = { data: zScore(image.data, channels), shape: tensorShape(image) };
    const logits = await slidingWindow(grid, { patch, classes: labels.length, predict, step: options.step });
    return volumeLike(image, argmaxLabels(logits), { name: `labels of ${image.name}` });
  };
}

/**
 * A patch for images of these shapes: the median along each axis, rounded up to a multiple of what the network halves;
 * the longest axis gives way until the patch has at most `voxels`.
 *
 * @param shapes [z, y, x] of each image
 * @param options multiple: per axis, the product of the network's strides; at least 8 is used. voxels: at most, 64^3
 *   unless given
 * @example choosePatch([[35, 50, 36]], { multiple: [4, 4, 4] }); // [40, 56, 40]
 */
export function choosePatch(
  shapes: readonly (readonly number[])[],
  options: { multiple: readonly number[]; voxels?: number },
): number[] {
  const { multiple, voxels = 64 ** 3 } = options;
  const unit = multiple.map((n) => n * Math.ceil(8 / n));
  const patch = unit.map((n, axis) => {
    const sizes = shapes.map((shape) => shape[axis]).sort((a, b) => a - b);
    return Math.max(1, Math.ceil(sizes[sizes.length >> 1] / n)) * n;
  });
  while (patch.reduce((a, b) => a * b) > voxels) {
    const longest = patch.indexOf(Math.max(...patch));
    if (patch[longest] <= unit[longest]) break;
    patch[longest] -= unit[longest];
  }
  return patch;
}
