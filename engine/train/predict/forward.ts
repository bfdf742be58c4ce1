/** Networks on patches: the mean over trainings and mirror images. */
import { compile } from "../../compile/mod.ts";
import { firstNotFinite } from "../../core/dtype.ts";
import { VoxgradError } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import { leaves } from "../../core/tree.ts";
import { inputChannels, outputChannels } from "../../imaging/plan/plan.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import type { PreviousStage } from "../../imaging/prepare/prepared_case.ts";
import type { Volume } from "../../imaging/volume/volume.ts";
import { arange, tensor, zeros } from "../../ops/elementwise/creation.ts";
import { add, greater, mul, sub, where } from "../../ops/elementwise/elementwise.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { argmax } from "../../ops/reduce/reduce.ts";
import { concat } from "../../ops/shape/concat.ts";
import { slice } from "../../ops/shape/slice.ts";
import { take } from "../../ops/shape/take.ts";
import { applyHead, headOf, logitsOf, type Network } from "./head.ts";

export type { Network } from "./head.ts";

/** Input and output specification of a network. */
export interface Task {
  readonly plan: Plan;
}

/** One configuration of an ensemble: a network, and the parameters of one or more trainings of it (its folds). */
export interface Member extends Task {
  readonly network: Network;
  readonly params: readonly object[];
  /** Of a plan with a previous stage: the labels that this one gives a scan. */
  readonly previous?: (
    image: Volume,
    options: { signal?: { throwIfAborted(): void }; onProgress?: (done: number, total: number) => void },
  ) => Promise<PreviousStage>;
}

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
export const outputsOf = ({ network: { backgrounds = 1 }, plan }: Member): number =>
  outputChannels(plan) + backgrounds - 1;

/** Values at the voxels of patches: the mean over mirror images, and over parameters. */
class Averaged {
  readonly #plain;
  readonly #joint;
  readonly #flags: readonly Float32Array<ArrayBuffer>[];

  /** @param of values [N, channels, d, h, w] of images [N, C, d, h, w] */
  constructor(of: (params: object, image: Tensor) => Tensor, axes: readonly number[]) {
    this.#flags = Array.from({ length: 2 ** axes.length }, (_, bits) => {
      const flags = new Float32Array(3);
      axes.forEach((axis, k) => (flags[axis] = (bits >> k) & 1));
      return flags;
    });
    this.#plain = compile(of);
    const more = (params: object, image: Tensor, flags: Tensor, sum: Tensor, share: Tensor): Tensor => {
      const values = of(params, mirrored(image, flags, axes));
      return add(sum, mul(mirrored(values, flags, axes), share));
    };
    this.#joint = compile(more, { donate: [3] });
  }

  /**
   * @param shape of the result
   * @param stop throws when the prediction is to end
   */
  async run(list: readonly object[], image: Tensor, shape: readonly number[], stop: () => void): Promise<Tensor> {
    const times = list.length * this.#flags.length;
    if (times === 1) return await this.#plain(list[0], image);
    let sum = zeros(shape);
    try {
      for (const own of list) {
        for (const flags of this.#flags) {
          stop();
          using turned = tensor(flags);
          sum = await this.#joint(own, image, turned, sum, 1 / times);
        }
      }
      return sum;
    } catch (error) {
      sum.dispose();
      throw error;
    }
  }

  /** Bytes of the program. */
  async bytes(list: readonly object[], image: Tensor, shape: readonly number[]): Promise<number> {
    const info = list.length * this.#flags.length === 1
      ? await this.#plain.plan(list[0], image)
      : await this.#joint.plan(list[0], image, zeros([3]), zeros(shape), 1);
    return info.peakBytes;
  }

  dispose(): void {
    this.#plain.dispose();
    this.#joint.dispose();
  }
}

/**
 * Logits of patches by one configuration: the mean over its parameters and mirror images. With `apart`, what its last
 * layer takes in their place, of each of its parameters, if that layer is a convolution of single voxels: fewer values
 * than logits where there are many classes, and a mean of them gives the mean of the logits.
 */
export class Forward {
  readonly member: Member;
  readonly #shape: readonly number[];
  readonly #classes: number;
  readonly #logits: Averaged;
  readonly #features: Averaged;
  readonly #head;
  readonly #best;
  #width: number | undefined;

  constructor(member: Member, batch: number, axes: readonly number[]) {
    const { network, plan, params: { length } } = member;
    this.member = member;
    this.#shape = [batch, inputChannels(plan), ...plan.patch];
    this.#classes = outputsOf(member);
    this.#logits = new Averaged((params, image) => logitsOf(network, params, image), axes);
    this.#features = new Averaged((params, image) => headOf(logitsOf(network, params, image))!.features, axes);
    const shape = this.#shape;
    const head = (list: readonly object[], features: Tensor): Tensor => {
      const width = features.shape[1] / length;
      const all = list.map((params, k) => {
        const own = slice(features, { start: [0, k * width], end: [1, (k + 1) * width] });
        return applyHead(own, headOf(logitsOf(network, params, zeros(shape)))!);
      });
      return length === 1 ? all[0] : mul(all.reduce((a, b) => add(a, b)), 1 / length);
    };
    this.#head = compile(head);
    this.#best = compile((list: readonly object[], features: Tensor) => argmax(head(list, features), { axis: 1 }));
  }

  /** Channels of what `run` gives. */
  channels(apart: boolean): number {
    return apart ? this.#widthApart() * this.member.params.length : this.#classes;
  }

  /** Whether the last layer can be computed apart, and takes fewer values than it gives. */
  get shrinks(): boolean {
    const channels = this.channels(true);
    return channels > 0 && channels < this.#classes;
  }

  /** Channels that the last layer takes; 0 if it cannot be computed apart. */
  #widthApart(): number {
    const { network, params } = this.member;
    return (this.#width ??= headOf(logitsOf(network, params[0], zeros(this.#shape)))?.features.shape[1] ?? 0);
  }

  #shapeOf(channels: number): number[] {
    const [batch, , ...patch] = this.#shape;
    return [batch, channels, ...patch];
  }

  /** @param stop throws when the prediction is to end */
  async run(
    patches: Float32Array<ArrayBuffer>,
    scan: string,
    stop: () => void,
    apart: boolean,
  ): Promise<Float32Array> {
    stop();
    using image = tensor(patches, { shape: this.#shape });
    const { params } = this.member;
    if (!apart) {
      using logits = await this.#logits.run(params, image, this.#shapeOf(this.#classes), stop);
      return await this.#checked(logits, scan, this.#classes);
    }
    const width = this.#widthApart();
    const parts: Tensor[] = [];
    try {
      for (const own of params) parts.push(await this.#features.run([own], image, this.#shapeOf(width), stop));
      using features = params.length === 1 ? parts[0] : concat(parts, { axis: 1 });
      return await this.#checked(features, scan, width * params.length);
    } finally {
      for (const part of parts) part.dispose();
    }
  }

  /** Logits [classes, h, w] of a plane of what `run` gives apart. */
  async logits(plane: Float32Array<ArrayBuffer>, size: readonly [number, number]): Promise<Float32Array<ArrayBuffer>> {
    using features = tensor(plane, { shape: [1, this.channels(true), 1, ...size] });
    using logits = await this.#head(this.member.params, features);
    return (await logits.data()) as Float32Array<ArrayBuffer>;
  }

  /** The class with the highest logit of each voxel of such a plane; the lowest of equals. */
  async labels(plane: Float32Array<ArrayBuffer>, size: readonly [number, number]): Promise<Uint8Array<ArrayBuffer>> {
    using features = tensor(plane, { shape: [1, this.channels(true), 1, ...size] });
    using best = await this.#best(this.member.params, features);
    return Uint8Array.from(await best.data());
  }

  async #checked(logits: Tensor, scan: string, channels: number): Promise<Float32Array> {
    if (logits.shape[1] !== channels) {
      throw new VoxgradError(`segmenter: the network gives ${logits}, the plan wants ${channels} channels`);
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
  bytes(apart: boolean): Promise<number> {
    const [averaged, channels] = apart
      ? [this.#features, this.#widthApart()] as const
      : [this.#logits, this.#classes] as const;
    return averaged.bytes(this.member.params, zeros(this.#shape), this.#shapeOf(channels));
  }

  /** Frees the programs, and the parameters on the device. */
  dispose(): void {
    for (const each of [this.#logits, this.#features, this.#head, this.#best]) each.dispose();
    for (const own of this.member.params) for (const leaf of leaves(own)) if (leaf instanceof Tensor) leaf.dispose();
  }
}
