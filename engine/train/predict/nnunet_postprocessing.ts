/** nnU-Net's postprocessing.pkl as a rule for the largest components. */
import { show, VoxgradError } from "../../core/errors.ts";
import type { Plan } from "../../imaging/plan/plan.ts";
import { pickle, PythonName } from "../../nn/pickle.ts";
import { readPickle } from "../../nn/read_pickle.ts";
import type { SourceBytes } from "../../platform/sources.ts";
import type { Postprocessing, PostprocessingStep } from "./postprocess.ts";

const MODULE = "nnunetv2.postprocessing.remove_connected_components";
const FUNCTION = "remove_all_but_largest_component_from_segmentation";
const KEEP_LARGEST = `${MODULE}.${FUNCTION}`;

/** Label values of a number, a region (a tuple), or a list of them. */
function valuesOf(stored: unknown, file: string): number[] {
  const all = [stored].flat(3);
  if (all.length > 0 && all.every((value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < 256)) {
    return all.filter((value) => value !== 0) as number[];
  }
  throw new VoxgradError(`${file}: labels_or_regions is ${show(stored)}; wanted labels of 0 to 255`);
}

/**
 * Reads the rule that nnUNetv2_determine_postprocessing or nnUNetv2_find_best_configuration chose.
 *
 * @throws VoxgradError for a pickle that names another function than the one of nnU-Net, or labels that are none
 * @example
 * ```ts
 * import { openModel } from "voxgrad/models";
 * import { nnunetPostprocessing, readSource } from "voxgrad/train";
 *
 * const { plan } = await openModel("runs/liver");
 * const { keepLargest } = await nnunetPostprocessing(await readSource("postprocessing.pkl"), plan);
 * ```
 */
export async function nnunetPostprocessing(
  source: SourceBytes,
  plan: Pick<Plan, "labels" | "fingerprint">,
): Promise<Postprocessing> {
  const { name: file } = source;
  const stored = await readPickle(source, [KEEP_LARGEST]);
  const [functions, settings] = Array.isArray(stored) ? stored as unknown[] : [];
  if (!Array.isArray(functions) || !Array.isArray(settings) || functions.length !== settings.length) {
    throw new VoxgradError(`${file}: it is no list of functions and one of their arguments, as nnU-Net writes it`);
  }
  const keepLargest = settings.map((kwargs: Readonly<Record<string, unknown>>): PostprocessingStep => {
    const { labels_or_regions: chosen, background_label: background = 0, ...others } = kwargs ?? {};
    const [odd] = Object.keys(others);
    if (odd !== undefined || background !== 0) {
      throw new VoxgradError(
        `${file}: its arguments hold ${odd ?? `background_label ${show(background)}`}, unknown here`,
      );
    }
    const values = valuesOf(chosen, file);
    return { name: values.map((value) => plan.labels[value] ?? `label ${value}`).join(", "), values };
  });
  return { format: "voxgrad postprocessing 1", keepLargest, cases: plan.fingerprint.cases, dice: [] };
}

/**
 * A rule as nnU-Net's postprocessing.pkl, for nnUNetv2_apply_postprocessing.
 *
 * @example
 * ```ts
 * import { nnunetRule, RunFolder } from "voxgrad/train";
 *
 * const bytes = nnunetRule({ keepLargest: [{ name: "liver", values: [1] }] });
 * await new RunFolder("runs/mine").write("postprocessing.pkl", bytes);
 * ```
 */
export function nnunetRule({ keepLargest }: Pick<Postprocessing, "keepLargest">): Uint8Array<ArrayBuffer> {
  const functions = keepLargest.map(() => new PythonName(MODULE, FUNCTION));
  const settings = keepLargest.map(({ values }) => ({ labels_or_regions: values }));
  return pickle([functions, settings], () => "");
}
