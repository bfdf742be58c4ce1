// deno-lint-ignore-file no-explicit-any
/**
 * The plain U-Net of nnU-Net: two convolutions per stage with instance norm and leaky ReLU; Dice and cross-entropy; SGD
 * of rate 0.01 with Nesterov's momentum 0.99. As CoLab trains it, or with nnU-Net's deep supervision, Dice over the
 * batch and gradients of norm 12 at most.
 */
import { clipGradNorm, deepSupervision, deepSupervisionWeights, diceCrossEntropy, sgd } from "../../engine/nn/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { plainConvUNet } from "../../models/mod.ts";
import type { Input, Item, Vg } from "./item.ts";

export interface PlainUNetSizes {
  readonly features: readonly number[];
  /** Patches are cubes of this size. */
  readonly patch: number;
  readonly batch: number;
  readonly title: string;
  /** Train as nnU-Net does. */
  readonly nnunet?: boolean;
}

const CLASSES = 2;
const notHere = { cannot: "not written for it" };

/** Names of the published state dict and shapes; of the heads the finest alone, or all. */
function parametersOf(features: readonly number[], allHeads: boolean): [string, Input][] {
  const list: [string, Input][] = [];
  const conv = (name: string, shape: readonly number[], gain = 2): void => {
    const fan = shape.slice(1).reduce((a, b) => a * b, 1);
    list.push([`${name}.weight`, { shape, scale: Math.sqrt(gain / fan) }]);
  };
  const block = (name: string, inner: number, outer: number): void => {
    conv(`${name}.conv`, [outer, inner, 3, 3, 3]);
    list.push([`${name}.conv.bias`, { shape: [outer], values: "zeros" }]);
    list.push([`${name}.norm.weight`, { shape: [outer], values: "ones" }]);
    list.push([`${name}.norm.bias`, { shape: [outer], values: "zeros" }]);
  };
  const stage = (name: string, inner: number, outer: number): void => {
    block(`${name}.convs.0`, inner, outer);
    block(`${name}.convs.1`, outer, outer);
  };
  features.forEach((n, s) => stage(`encoder.stages.${s}.0`, features[s - 1] ?? 1, n));
  const down = [...features].reverse();
  down.slice(1).forEach((n, d) => {
    conv(`decoder.transpconvs.${d}`, [down[d], n, 2, 2, 2]);
    list.push([`decoder.transpconvs.${d}.bias`, { shape: [n], values: "zeros" }]);
    stage(`decoder.stages.${d}`, 2 * n, n);
  });
  down.slice(1).forEach((n, d) => {
    if (!allHeads && d < down.length - 2) return;
    conv(`decoder.seg_layers.${d}`, [CLASSES, n, 1, 1, 1], 1);
    list.push([`decoder.seg_layers.${d}.bias`, { shape: [CLASSES], values: "zeros" }]);
  });
  return list;
}

export interface PlainUNetItems {
  readonly step: Item;
  readonly hvp: Item;
  /** The loss alone, without derivatives. */
  readonly validation: Item;
}

/** Items of one network; each is the only one on its device. */
export function plainUNet({ features, patch, batch, title, nnunet = false }: PlainUNetSizes): PlainUNetItems {
  const model = plainConvUNet({
    inputChannels: 1,
    features: [...features],
    classes: CLASSES,
    convsPerStage: 2,
    deepSupervision: nnunet as boolean,
  });
  const parameters = parametersOf(features, nnunet);
  const names = parameters.map(([name]) => name);
  const count = names.length;
  const space = [patch, patch, patch];
  const weights = parameters.map(([, input]) => input);
  const zeros = weights.map(({ shape }): Input => ({ shape, values: "zeros" }));
  const data: Input[] = [
    { shape: [batch, 1, ...space] },
    { shape: [batch, ...space], values: "labels", scale: CLASSES, dtype: "i32" },
  ];
  const named = (vg: Vg, list: readonly Tensor[]): any => vg.tree.unflatten(names.map((name, k) => [name, list[k]]));
  /** In the order of the names, which differs from that of a tree. */
  const listed = (vg: Vg, params: any): Tensor[] => {
    const all = vg.tree.flatten(params);
    return names.map((name) => all.get(name)!);
  };
  const outputWeights = nnunet ? deepSupervisionWeights(features.length - 1, { coarsest: features.length < 4 }) : [1];
  const loss = (x: Tensor, labels: Tensor) => (params: any): Tensor => {
    const term = (output: Tensor, at: Tensor): Tensor => diceCrossEntropy(output, at, { batch: nnunet });
    return deepSupervision(term, model.apply(params, x), labels, { weights: outputWeights });
  };
  const clip = (grads: any): any => (nnunet ? clipGradNorm(grads, 12)[0] : grads);
  const python = `(${JSON.stringify(names)}, ${features.length}, ${JSON.stringify(outputWeights)}, ${
    nnunet ? "True" : "False"
  })`;
  const nameOf = (what: string): string => `${title} ${features.join("-")}, ${patch} cubed, batch ${batch}: ${what}`;
  const shared = { alone: true, jax: notHere, tfjs: notHere } as const;
  return {
    step: {
      ...shared,
      name: nameOf("training step"),
      inputs: [...weights, ...zeros, ...data],
      read: "first",
      carry: true,
      ours: (vg) => {
        const optimizer = sgd({ momentum: 0.99, nesterov: true });
        return (...all) => {
          const [params, velocity] = [named(vg, all.slice(0, count)), named(vg, all.slice(count, 2 * count))];
          const [value, grads] = vg.valueAndGrad(loss(all.at(-2)!, all.at(-1)!))(params);
          const [next, state] = optimizer.update(clip(grads), { velocity }, params, 0.01);
          return [value, ...listed(vg, next), ...listed(vg, state.velocity)];
        };
      },
      torch: `PlainUNetStep${python}`,
    },
    hvp: {
      ...shared,
      name: nameOf("Hessian-vector product"),
      inputs: [...weights, ...data],
      ours: (vg) => (...all) => {
        const params = named(vg, all.slice(0, count));
        return listed(vg, vg.hvp(loss(all.at(-2)!, all.at(-1)!), [params], [params])[0]);
      },
      torch: `PlainUNetHvp${python}`,
    },
    validation: {
      ...shared,
      name: nameOf("validation step"),
      inputs: [...weights, ...data],
      read: "first",
      ours: (vg) => (...all) => loss(all.at(-2)!, all.at(-1)!)(named(vg, all.slice(0, count))),
      torch: `PlainUNetValidation${python}`,
    },
  };
}
