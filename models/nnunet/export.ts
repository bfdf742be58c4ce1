/** Trained networks in the files of nnU-Net v2. */
import { loadParameters, random, saveTorch, type Tensor, tensor, tree, VERSION } from "../../engine/mod.ts";
import { nnunetFromPlan, type Plan } from "../../engine/imaging/mod.ts";
import { check } from "../../engine/segmenting.ts";
import type { LoadedModel, Postprocessing } from "../../engine/train/mod.ts";
import { nnunetRule } from "../../engine/train/mod.ts";
import { architectureOf, networkOf } from "../known_networks.ts";

/**
 * The weights by all names of nnU-Net's state dicts: each block holds its layers once more as a list, and the decoder
 * its encoder.
 *
 * @param flat whether kernels of one slice become two-dimensional
 */
async function stateOf(weights: ReadonlyMap<string, Tensor>, flat: boolean): Promise<Record<string, Tensor>> {
  const state: Record<string, Tensor> = {};
  for (const [name, own] of weights) {
    const { shape } = own;
    const [first, second, depth, ...kernel] = shape;
    check(!flat || shape.length < 3 || depth === 1, "exportNnunet", () => `${name} [${shape}] is no kernel of a slice`);
    const t = flat && shape.length === 5 ? tensor(await own.data(), { shape: [first, second, ...kernel] }) : own;
    const [, block, layer, part] = /^(.+)\.(conv|norm)\.(weight|bias)$/.exec(name) ?? [];
    const again = block === undefined ? [] : [`${block}.all_modules.${layer === "conv" ? 0 : 1}.${part}`];
    for (const each of [name, ...again]) {
      state[each] = t;
      if (each.startsWith("encoder.")) state[`decoder.${each}`] = t;
    }
  }
  return state;
}

/** Axes of the patch by those of the scan. */
function patchAxes(mirror: string, plan: Plan): number[] | null {
  const axes = plan.transpose.flatMap((axis, k) => (mirror.includes("zyx"[axis]) && mirror !== "none" ? [k] : []));
  const own = plan.configuration === "2d" ? axes.filter((axis) => axis > 0).map((axis) => axis - 1) : axes;
  return own.length > 0 ? own : null;
}

/**
 * The files of folds of one network, as nnU-Net's training leaves them and nnUNetv2_predict reads them.
 *
 * @param folds models by the names of their folds: "0" to "9", or "all"
 * @param options mirror: axes of the oriented scan along which nnUNetv2_predict mirrors, such as "xy"; default "none".
 *   rule: of the folds
 * @returns contents by their paths in the folder TRAINER__PLANS__CONFIGURATION
 * @throws PlanError for networks and plans that nnU-Net does not have
 */
export async function exportNnunet(
  folds: ReadonlyMap<string, LoadedModel>,
  options: { mirror?: string; rule?: Postprocessing } = {},
): Promise<Map<string, Uint8Array>> {
  const { mirror = "none", rule } = options;
  const files = new Map<string, Uint8Array>();
  const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  let first: string | undefined;
  for (const [fold, { description, tensors, file }] of folds) {
    const { plan, network } = description;
    check(
      network === plan.network.name,
      "exportNnunet",
      () => `${file}: its network is ${network}, which nnU-Net does not have; it has plain and residual-encoder U-Nets`,
    );
    const { plans, dataset } = nnunetFromPlan(plan, file);
    const said = JSON.stringify([plans, dataset]);
    first ??= said;
    check(said === first, "exportNnunet", () => `${file}: its plan is another than that of the first fold`);
    const model = networkOf({ network: plan.network.name, architecture: architectureOf(plan) }, file);
    const weights = tree.flatten(loadParameters(model.init(random.key(0)), tensors)) as ReadonlyMap<string, Tensor>;
    const content = {
      network_weights: await stateOf(weights, plan.configuration === "2d"),
      optimizer_state: null,
      grad_scaler_state: null,
      logging: {},
      _best_ema: null,
      current_epoch: 0,
      init_args: {
        plans,
        configuration: plan.configuration,
        fold: fold === "all" ? fold : Number(fold),
        dataset_json: dataset,
        unpack_dataset: true,
        device: null,
      },
      trainer_name: "nnUNetTrainer",
      inference_allowed_mirroring_axes: patchAxes(mirror, plan),
      voxgrad: VERSION,
    };
    files.set("plans.json", json(plans)).set("dataset.json", json(dataset));
    const bytes = await saveTorch(content as Parameters<typeof saveTorch>[0], "checkpoint_final");
    files.set(`fold_${fold}/checkpoint_final.pth`, bytes);
  }
  if (rule && rule.keepLargest.length > 0) {
    const crossval = `crossval_results_folds_${[...folds.keys()].join("_")}`;
    files.set(`${crossval}/postprocessing.pkl`, nnunetRule(rule));
  }
  return files;
}
