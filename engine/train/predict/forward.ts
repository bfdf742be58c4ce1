/** Networks on patches: the mean over trainings and mirror images. */
import { compile } from "../../compile/mod.ts";
import { firstNotFinite } from "../../core/dtype.ts";
import { VoxgradError } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import { leaves } from "../../core/tree.ts";
import { outputChannels } from "../../imaging/plan/plan.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
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
export const outputsOf = ({ network: { backgrounds = 1 }, plan }: Member): number =>
  outputChannels(plan) + backgrounds - 1;

/** Logits of patches by one configuration: the mean over its parameters and mirror images, in one program. */
export class Forward {
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

  /** @param stop throws when the prediction is to end */
  async run(patches: Float32Array<ArrayBuffer>, scan: string, stop: () => void): Promise<Float32Array> {
    stop();
    using image = tensor(patches, { shape: this.#shape });
    const { params } = this.member;
    if (this.#times === 1) {
      using logits = await this.#plain(params[0], image);
      return await this.#checked(logits, scan);
    }
    let sum = this.#noLogits();
    try {
      for (const own of params) {
        for (const flags of this.#flags) {
          stop();
          using turned = tensor(flags);
          sum = await this.#joint(own, image, turned, sum, 1 / this.#times);
        }
      }
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

  /** Frees the programs, and the parameters on the device. */
  dispose(): void {
    this.#plain.dispose();
    this.#joint.dispose();
    for (const own of this.member.params) for (const leaf of leaves(own)) if (leaf instanceof Tensor) leaf.dispose();
  }
}
