/** The networks of a training with context labels. */
import { type Params, random, type Tensor } from "../../engine/mod.ts";
import type { Plan } from "../../engine/imaging/mod.ts";
import type { ModelDescription } from "../../engine/train/mod.ts";
import { architectureOf, type Model } from "../known_networks.ts";
import type { UNetConfig } from "../unet/config.ts";
import { plainConvUNet } from "../unet/unet.ts";
import { contextsFirst } from "./context_network.ts";
import { contextArm, type ContextOptions } from "./options.ts";
import { type ContextKind, contextProbabilities } from "./sources.ts";
import { withRoiPrior } from "./start.ts";

/** What a training with context labels trains, and its arm. */
export interface ColabNetworks {
  readonly context: ContextKind;
  /** How many outputs are contexts, and how many are ROI classes. */
  readonly contexts: number;
  readonly rois: number;
  /** The segmenter, with an output for each ROI class and context at each scale, finest first. */
  readonly model: Model<Tensor[]>;
  /** The task generator, with an output for each context. */
  readonly generator: Model<Tensor>;
  /** What the arm says of the background: `contextProbabilities` with the generator's parameters omega. */
  readonly contextsOf: (omega: Params, image: Tensor, extra: Tensor) => { q: Tensor; mask: Tensor };
  /** The segmenter as `segmenter` applies it to scans. */
  readonly applied: Pick<Model, "apply">;
  /** What its model file says of it. */
  readonly description: Pick<ModelDescription, "network" | "architecture" | "plan">;
}

/** Parameters that a training begins with; the generator's have the next seed. */
export function firstParams(
  { context, rois, model, generator }: ColabNetworks,
  { seed, roiPrior }: Pick<ContextOptions, "seed" | "roiPrior">,
): { readonly params: Params; readonly omega: Params } {
  const start = model.init(random.key(seed));
  const outputs = { rois, first: context === "none" ? 1 : 0 };
  const params = roiPrior > 0 ? withRoiPrior(start, roiPrior, outputs) : start;
  return { params, omega: generator.init(random.key(seed + 1)) };
}

/**
 * The networks of a training, by the plan's U-Net.
 *
 * @param options generatorWidth: channels of the generator as a fraction of the segmenter's
 * @example
 * ```ts
 * import { readPlan } from "voxgrad/imaging";
 * import { colabNetworks } from "voxgrad/models";
 *
 * const options = { context: "colab", contexts: 2, generatorWidth: 1 } as const;
 * const { model, generator } = colabNetworks(await readPlan("plan.json"), options);
 * ```
 */
export function colabNetworks(
  plan: Plan,
  options: Pick<ContextOptions, "context" | "contexts"> & { readonly generatorWidth: number },
): ColabNetworks {
  const { context, contexts } = contextArm(options);
  const rois = plan.labels.length - 1;
  const shape = architectureOf(plan, { deepSupervision: true }) as UNetConfig;
  const model = plainConvUNet({ ...shape, classes: rois + contexts, deepSupervision: true });
  const generator: Model<Tensor> = plainConvUNet({
    ...shape,
    classes: contexts,
    deepSupervision: false,
    features: shape.features.map((n) => Math.max(1, Math.round(n * options.generatorWidth))),
  });
  return {
    context,
    contexts,
    rois,
    model,
    generator,
    contextsOf: (omega, image, extra) =>
      contextProbabilities({ context, contexts, generate: (x) => generator.apply(omega, x) }, image, extra),
    applied: context === "none" ? model : contextsFirst(model, { roiClasses: rois, contexts }),
    description: {
      network: context === "none" ? plan.network.name : "contextUNet",
      architecture: { ...shape, classes: rois + contexts, ...(context !== "none" && { roiClasses: rois }) },
      plan,
    },
  };
}
