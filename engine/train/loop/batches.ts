/** Batches of a training: drawn by seed and step, copied to the device and augmented there. */
import { Prng } from "../../core/prng.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as augment from "../../imaging/augment/augment.ts";
import type { AugmentChanges } from "../../imaging/augment/options.ts";
import type { Dataset, DatasetCase } from "../../imaging/dataset/types.ts";
import type { Fold } from "../../imaging/dataset/split.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { casesOf, type CaseSource, sampleBatch } from "../../imaging/prepare/sampling.ts";
import { tensor } from "../../ops/elementwise/creation.ts";
import type { TrainingOptions } from "./training_options.ts";

/** A batch on its way to the device: image f32 [N, C, d, h, w], label i32 [N, d, h, w]. */
export interface Patches {
  readonly image: Tensor;
  readonly label: Tensor;
  /** Further channels of the source, f32 [N, E, d, h, w]; augmented with the image, by nearest neighbor. */
  readonly extra?: Tensor;
  /**
   * With partially labeled cases: i32 [N, K], for each class the lowest class that the label of the patch's case does
   * not distinguish from it. Classes that are not annotated have 0, the background.
   */
  readonly sets?: Tensor;
}

/** Augmentation with mirroring only. */
const NO_CHAIN = {
  rotation: false,
  scaling: false,
  noise: false,
  blur: false,
  brightness: false,
  contrast: false,
  lowResolution: false,
  invertedGamma: false,
  gamma: false,
} as const;

/** Fraction of validation patches centered on foreground, as in nnU-Net. */
const VALIDATION_FOREGROUND = 0.33;

/** Draws the batches of a training. The draws depend only on the seed, the split and the step. */
export class Batches {
  /** Patch size before augmentation, which crops to that of the plan. */
  readonly sampled: readonly number[];
  readonly #options: TrainingOptions;
  readonly #plan: Plan;
  readonly #dataset: Dataset;
  readonly #changes: Omit<AugmentChanges, "patch">;
  readonly #draws: Record<"batches" | "augmentation" | "validation", Prng>;
  readonly #items: ReadonlyMap<string, DatasetCase>;
  readonly #partial: boolean;

  constructor(options: TrainingOptions, { plan, dataset }: { plan: Plan; dataset: Dataset }) {
    this.#options = options;
    this.#plan = plan;
    this.#dataset = dataset;
    const axes = plan.transpose.flatMap((axis, k) => (options.flips.includes("zyx"[axis]) ? [k] : []));
    const chain = options.augment === "auto" ? (options.data === "" ? "mirror" : "nnunet") : options.augment;
    const scaling = chain === "scale" ? { scaling: { p: 1, factor: [0.9, 1.1] as const } } : {};
    this.#changes = {
      ...(chain === "nnunet" ? {} : NO_CHAIN),
      ...scaling,
      mirror: chain === "none" ? false : { axes },
    };
    this.sampled = augment.initialPatch(plan.patch, this.#changes);
    const prng = new Prng(options.seed);
    this.#draws = {
      batches: prng.fork("batches"),
      augmentation: prng.fork("augmentation"),
      validation: prng.fork("validation"),
    };
    this.#items = new Map(dataset.cases.map((item) => [item.id, item]));
    this.#partial = dataset.cases.some((item) => item.labelsPresent);
  }

  /** The batch of a step (from 1), before augmentation. */
  training(source: CaseSource, split: Fold, step: number): Promise<Patches> {
    const drawn = { patch: this.sampled, foreground: this.#options.foreground };
    return this.#patches(source, this.#draws.batches.fork(step), this.#setsOf(split.train, step), drawn);
  }

  /** A batch of held-out patches; the same for the same index. */
  validation(source: CaseSource, split: Fold, index: number): Promise<Patches> {
    const drawn = { patch: this.#plan.patch, foreground: VALIDATION_FOREGROUND };
    return this.#patches(source, this.#draws.validation.fork(index), [split.val], drawn);
  }

  /** The random key of a step's augmentation, or of that of a micro-batch, from 0. */
  key(step: number, micro?: number): Tensor {
    const whole = this.#draws.augmentation.fork(step);
    const own = micro === undefined ? whole : whole.fork(micro);
    return tensor(new Uint32Array([own.uint32(), own.uint32()]));
  }

  /** Augments a batch and crops it to the plan's patch. For use in a compiled step. */
  augmented(key: Tensor, patches: Patches): Patches {
    const { sets, ...moved } = patches;
    const entries = patches.extra ? { entries: { extra: { mode: "nearest" as const } } } : {};
    const augmented = augment.nnunet(key, moved, { patch: this.#plan.patch, ...this.#changes, ...entries });
    return { ...augmented, ...(sets && { sets }) };
  }

  async #patches(
    source: CaseSource,
    prng: Prng,
    sets: readonly (readonly string[])[],
    options: { patch: readonly number[]; foreground: number },
  ): Promise<Patches> {
    const { batch, channels } = this.#plan;
    const { patch } = options;
    const { image, label, ids } = await sampleBatch(prng, casesOf(source, sets.flat()), { batch, sets, ...options });
    const C = channels.length;
    const all = image.length / label.length;
    // Channels [from, to) of every sample.
    const part = (from: number, to: number): Tensor => {
      const size = label.length / batch;
      const values = new Float32Array(batch * (to - from) * size);
      for (let n = 0; n < batch; n++) {
        values.set(image.subarray((n * all + from) * size, (n * all + to) * size), n * (to - from) * size);
      }
      return tensor(values, { shape: [batch, to - from, ...patch] });
    };
    return {
      image: all === C ? tensor(image, { shape: [batch, C, ...patch] }) : part(0, C),
      label: tensor(label, { shape: [batch, ...patch] }),
      ...(all > C && { extra: part(C, all) }),
      ...(this.#partial && { sets: this.#labelSets(ids) }),
    };
  }

  #labelSets(ids: readonly string[]): Tensor {
    const classes = this.#plan.labels.length;
    const values = ids.flatMap((id) => {
      const { labelsPresent, merged = [] } = this.#items.get(id)!;
      return Array.from(
        { length: classes },
        (_, k) => merged.find((list) => list.includes(k))?.[0] ?? (labelsPresent?.includes(k) ?? true ? k : 0),
      );
    });
    return tensor(new Int32Array(values), { shape: [ids.length, classes] });
  }

  /** The cases that a step draws from; each list is equally likely. */
  #setsOf(ids: readonly string[], step: number): readonly (readonly string[])[] {
    const rule = this.#options.sets;
    const { sets } = this.#dataset;
    if (!sets || rule === "proportional") return [ids];
    // Sets without a case in the split are skipped.
    const own = sets
      .map(({ name }) => ids.filter((id) => this.#items.get(id)!.set === name))
      .filter((list) => list.length > 0);
    return rule === "equal" || own.length === 0 ? own : [own[(step - 1) % own.length]];
  }
}
