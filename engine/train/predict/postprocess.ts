/**
 * The largest-component rule, determined as in nnU-Net: on validation predictions, keep only the largest connected
 * component of all foreground, and then of each class, if that raises the mean Dice and lowers no class.
 */
import { platform } from "#platform";
import { isPlain, VoxgradError } from "../../core/errors.ts";
import { parseJson } from "../../core/json.ts";
import { isAnnotated } from "../../imaging/metrics/compare.ts";
import { summarize } from "../../imaging/metrics/metrics.ts";
import { keepLargestComponent } from "../../imaging/volume/largest_component.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import type { Volume } from "../../imaging/volume/volume.ts";

/** One application of the rule: label values that count as one mask. */
export interface PostprocessingStep {
  readonly name: string;
  readonly values: readonly number[];
}

/** The content of postprocessing.json. */
export interface Postprocessing {
  readonly format: "voxgrad postprocessing 1";
  /** Keep the largest component of each of these, in order. */
  readonly keepLargest: readonly PostprocessingStep[];
  /** Number of cases it was determined on, and their mean Dice by class (null if a class never occurs). */
  readonly cases: number;
  readonly dice: readonly { readonly name: string; readonly before: number | null; readonly after: number | null }[];
}

const FORMAT = "voxgrad postprocessing 1";

/** Classes of a plan, or its regions. */
const targetsOf = (plan: Pick<Plan, "labels" | "regions">): PostprocessingStep[] =>
  plan.regions?.map(({ name, values }) => ({ name, values })) ??
    plan.labels.slice(1).map((name, k) => ({ name, values: [k + 1] }));

/** Determines the rule from predictions that are added one by one. */
export class PostprocessingChoice {
  readonly #plan: Pick<Plan, "labels" | "regions" | "ignoreLabel">;
  readonly #targets: readonly PostprocessingStep[];
  readonly #whole: PostprocessingStep;
  /** Dice [case][target] by step applied: none, "all", and then one further target. */
  readonly #dice = new Map<string, number[][]>();
  #cases = 0;

  constructor(plan: Pick<Plan, "labels" | "regions" | "ignoreLabel">) {
    this.#plan = plan;
    this.#targets = targetsOf(plan);
    this.#whole = { name: "all foreground", values: plan.labels.map((_, value) => value).slice(1) };
  }

  /**
   * @param prediction labels as predicted, without the rule
   * @param labelsPresent values that were annotated in the reference; default all. Others are excluded
   * @throws VoxgradError if the two differ in shape
   */
  add(prediction: Volume, reference: Volume, labelsPresent?: readonly number[]): void {
    if (prediction.data.length !== reference.data.length) {
      const wanted = reference.shape.join(" x ");
      throw new VoxgradError(
        `${prediction.name}: its shape is ${prediction.shape.join(" x ")}, that of its label ${wanted}`,
      );
    }
    this.#cases++;
    const { shape } = prediction;
    for (const whole of [false, true]) {
      const base = Uint8Array.from(prediction.data);
      if (whole) keepLargestComponent(base, { shape, values: this.#whole.values });
      this.#note(`${whole}`, base, reference, labelsPresent);
      for (const [k, { values }] of this.#targets.entries()) {
        const labels = base.slice();
        keepLargestComponent(labels, { shape, values });
        this.#note(`${whole} ${k}`, labels, reference, labelsPresent);
      }
    }
  }

  #note(what: string, labels: Uint8Array, reference: Volume, labelsPresent?: readonly number[]): void {
    const list = this.#dice.get(what) ?? [];
    const dice = this.#diceOf(labels, reference);
    list.push(dice.map((each, k) => (isAnnotated(this.#targets[k].values, labelsPresent) ? each : NaN)));
    this.#dice.set(what, list);
  }

  /** Dice of every target; NaN if neither map has it. */
  #diceOf(labels: Uint8Array, reference: Volume): number[] {
    const counts = new Float64Array(256 * 256);
    for (let i = 0; i < labels.length; i++) counts[labels[i] * 256 + reference.data[i]]++;
    const known = [...Array(256).keys()].filter((value) => value !== this.#plan.ignoreLabel);
    return this.#targets.map(({ values }) => {
      let [both, either] = [0, 0];
      for (const a of known) {
        for (const b of known) {
          const here = counts[a * 256 + b];
          if (here === 0) continue;
          const [mine, theirs] = [values.includes(a), values.includes(b)];
          if (mine && theirs) both += here;
          either += here * (Number(mine) + Number(theirs));
        }
      }
      return either === 0 ? NaN : (2 * both) / either;
    });
  }

  /** Mean Dice of each target over the cases. */
  #means(what: string): number[] {
    const cases = this.#dice.get(what)!;
    return this.#targets.map((_, k) => summarize(cases.map((dice) => dice[k])).mean);
  }

  /**
   * @throws VoxgradError if no case was added
   */
  decide(): Postprocessing {
    if (this.#cases === 0) throw new VoxgradError("postprocessing: there is no case to decide it on; add one");
    const before = this.#means("false");
    const over = (means: readonly number[]): number => summarize(means).mean;
    const better = (now: readonly number[], then: readonly number[]): boolean =>
      over(now) > over(then) && now.every((value, k) => !(value < then[k]));
    const whole = this.#targets.length > 1 && better(this.#means("true"), before);
    const base = this.#means(`${whole}`);
    const after = [...base];
    const keepLargest = whole ? [this.#whole] : [];
    for (const [k, target] of this.#targets.entries()) {
      const means = this.#means(`${whole} ${k}`);
      if (!better(means, base)) continue;
      keepLargest.push(target);
      after[k] = means[k];
    }
    const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value);
    const dice = this.#targets.map(({ name }, k) => ({ name, before: orNull(before[k]), after: orNull(after[k]) }));
    return { format: FORMAT, keepLargest, cases: this.#cases, dice };
  }
}

/**
 * Applies a rule to labels.
 *
 * @returns labels with only the largest components kept; the volume itself if the rule is empty
 * @example
 * ```ts
 * import { phantomCase } from "voxgrad/imaging";
 * import { postprocess } from "voxgrad/train";
 *
 * const { label } = phantomCase({ seed: 1 });
 * const cleaned = postprocess(label, { keepLargest: [{ name: "organ", values: [1] }] });
 * ```
 */
export function postprocess(labels: Volume, rule: Pick<Postprocessing, "keepLargest">): Volume {
  if (rule.keepLargest.length === 0) return labels;
  const data = Uint8Array.from(labels.data);
  for (const { values } of rule.keepLargest) keepLargestComponent(data, { shape: labels.shape, values });
  return { ...labels, data };
}

/**
 * Checks the content of a postprocessing.json.
 *
 * @throws VoxgradError if it is invalid
 * @example
 * ```ts
 * import { checkPostprocessing, readJson } from "voxgrad/train";
 *
 * const file = "runs/cv/postprocessing.json";
 * const { keepLargest } = checkPostprocessing(await readJson(file), file);
 * ```
 */
export function checkPostprocessing(value: unknown, file: string): Postprocessing {
  const isRule = (value: unknown): value is Postprocessing =>
    isPlain(value) && value.format === FORMAT &&
    Array.isArray(value.keepLargest) && value.keepLargest.every(whole);
  const whole = (step: unknown): boolean =>
    isPlain(step) && Array.isArray(step.values) && step.values.every((v) => Number.isInteger(v) && Number(v) > 0);
  if (isRule(value)) return value;
  throw new VoxgradError(
    `${file}: it is no ${FORMAT}; decide it again, or predict with --no-postprocess, openModel with ` +
      "{ postprocess: false }",
  );
}

/**
 * The rule of a run: its postprocessing.json; undefined if it has none.
 *
 * @param folder of the run
 * @throws VoxgradError if the file holds no rule
 * @example
 * ```ts
 * import { postprocess, readPostprocessing } from "voxgrad/train";
 * import { readVolume } from "voxgrad/imaging";
 *
 * const rule = await readPostprocessing("runs/liver");
 * const labels = await readVolume("runs/liver/predictions/liver_01.nii.gz");
 * const cleaned = rule ? postprocess(labels, rule) : labels;
 * ```
 */
export async function readPostprocessing(folder: string): Promise<Postprocessing | undefined> {
  const file = `${folder}/postprocessing.json`;
  if (!(await platform.exists(file))) return undefined;
  return checkPostprocessing(parseJson(await platform.readFile(file), file), file);
}
