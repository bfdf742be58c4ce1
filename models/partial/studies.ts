/** What the paper of marginal and exclusion losses compares (Shi et al. 2021, Tables 3 to 8 and 10): sets and arms. */
import { ORGAN_PHANTOM_TUMOR } from "../../engine/imaging/mod.ts";
import type { Trial } from "../../engine/train/mod.ts";
import type { ArmOptions } from "./arms.ts";

/** A set of a study: what its files annotate, and what that is in the group where it is not the same. */
export interface StudySet {
  readonly name: string;
  readonly scanner: number;
  readonly labels: readonly string[];
  readonly becomes?: Readonly<Record<string, unknown>>;
}

/** What an arm changes of the training's options. */
export type StudyOptions = ArmOptions & { readonly trainSets: string };

/** An arm of a study. */
export interface PartialTrial extends Trial<StudyOptions> {
  /** A network for each set P, of its organs alone: on F and the set, or on the set. */
  readonly networks?: "F+P" | "P";
  /**
   * Instead of the sets, STUDY_POOL patients of the scanner of F: this many fully labeled, the others with an organ
   * each.
   */
  readonly full?: number;
}

/** What is compared on the same patients. */
export interface PartialStudy {
  readonly title: string;
  readonly labels: readonly string[];
  /** The first is fully labeled. */
  readonly sets: readonly StudySet[];
  readonly tumors: boolean;
  readonly main: readonly PartialTrial[];
  readonly more: readonly PartialTrial[];
}

const KIDNEYS = ["left kidney", "right kidney"];
const ORGANS = ["liver", "spleen", "pancreas", ...KIDNEYS];
const ORGAN_SETS = [ORGANS, ["liver"], ["spleen"], ["pancreas"], KIDNEYS].map((labels, scanner): StudySet => ({
  name: scanner === 0 ? "F" : `P${scanner}`,
  scanner,
  labels,
}));
/** Patients of F in Table 6. */
export const STUDY_POOL = 24;
const joint = (name: string, title: string, about: string, options: Partial<StudyOptions> = {}): PartialTrial => ({
  name,
  title,
  about,
  options,
});
/** An arm once with the cross-entropy alone, and once with Dice alone. */
const byTerm = ({ name, title, about, ...own }: PartialTrial): PartialTrial[] =>
  ([["CE", "ce", "cross-entropy"], ["Dice", "dice", "Dice"]] as const).map(([short, terms, word]) => ({
    ...own,
    name: `${name}_${short}`,
    title: `${title}, ${word}`,
    about: `${about} By ${word} alone.`,
    options: { ...own.options, terms },
  }));
const base: readonly PartialTrial[] = [
  joint("F", "F alone", "Ordinary loss on the fully labeled cases.", { loss: "full" }),
  joint(
    "naive",
    "Unlabeled is background",
    "Ordinary loss on all cases, labels as they are: the control.",
    { loss: "naive" },
  ),
  joint("marginal", "Marginal losses", "Marginal cross-entropy and Dice on all cases.", { loss: "marginal" }),
  joint(
    "exclusion",
    "Marginal and exclusion losses",
    "With twice the exclusion losses: the paper's best.",
    { loss: "exclusion" },
  ),
];
const oneP: PartialTrial = {
  name: "P",
  title: "Each P alone",
  about: "Four networks, each of one P, ordinary loss.",
  options: { loss: "full" },
  networks: "P",
};
const withP: PartialTrial = {
  ...oneP,
  name: "F+P",
  title: "F and one P",
  about: "Four networks, each of the organs of one P, ordinary loss.",
  networks: "F+P",
};
const main: readonly PartialTrial[] = [
  ...base.slice(0, 2),
  withP,
  joint("mCE", "Marginal cross-entropy", "On all cases.", { loss: "marginal", terms: "ce" }),
  joint("mDice", "Marginal Dice", "On all cases.", { loss: "marginal", terms: "dice" }),
  ...base.slice(2),
  joint(
    "logit",
    "Marginal losses, logits merged",
    "As the official code merges.",
    { loss: "marginal", mode: "logit" },
  ),
];
const more: readonly PartialTrial[] = [
  oneP,
  ...[base[0], oneP, withP].flatMap(byTerm),
  joint("paper_terms", "Dice as sums with the background", "The form of Eqs. 3, 6 and 10, exclusion as in Eq. 9.", {
    includeBackground: true,
    diceReduction: "sum",
  }),
  joint("code_exclusion", "Official exclusion labels", "The background excludes the annotated organs too.", {
    exclusionBackground: true,
    exclusionTerms: "dice",
  }),
  joint("pseudo", "Labels completed by the network", "Ordinary loss on all cases.", { loss: "pseudo" }),
  joint("prior", "Prior-aware (PaNN)", "Completed labels, and organs' sizes as in F.", { loss: "prior" }),
  ...[[4, 1], [3, 1], [2, 1], [1, 1], [1, 3], [1, 4], [0, 1]].map(([m, e]) =>
    joint(
      `${m}:${e}`,
      `Marginal to exclusion ${m}:${e}`,
      "Table 5.",
      { marginalWeight: m, exclusionWeight: e },
    )
  ),
  ...ORGAN_SETS.slice(1).map(({ name, labels }) =>
    joint(
      `without_${name}`,
      `Without ${name}`,
      `Marginal and exclusion losses; ${labels.join(" and ")} in F alone. Table 8.`,
      { trainSets: ORGAN_SETS.map((set) => set.name).filter((each) => each !== name).join(",") },
    )
  ),
  ...[24, 19, 14, 9, 4].map((full): PartialTrial => ({
    ...joint(
      `full_${full}`,
      `${full} of ${STUDY_POOL} fully labeled`,
      `The others have one of the five organs each. Table 6.`,
    ),
    full,
  })),
];
/** What scripts/experiment_partial.ts runs: organs of five datasets, and an organ with its tumors. */
export const partialStudies: Readonly<Record<"organs" | "tumor", PartialStudy>> = {
  organs: {
    title: "Partly labeled datasets: marginal and exclusion losses, and what they are compared with",
    labels: ORGANS,
    sets: ORGAN_SETS,
    tumors: false,
    main,
    more,
  },
  // Table 10: one scanner, as the paper divides one dataset.
  tumor: {
    title: "Organ and tumor, in part annotated together: marginal and exclusion losses",
    labels: ["liver", ORGAN_PHANTOM_TUMOR],
    tumors: true,
    main: base,
    more: [],
    sets: [
      { name: "F", scanner: 0, labels: ["liver", ORGAN_PHANTOM_TUMOR] },
      { name: "P1", scanner: 0, labels: ["liver"], becomes: { liver: { any: ["liver", ORGAN_PHANTOM_TUMOR] } } },
      { name: "P2", scanner: 0, labels: [ORGAN_PHANTOM_TUMOR] },
    ],
  },
};
