// deno-lint-ignore-file no-explicit-any
/**
 * The plain U-Net of nnU-Net as CoLab trains it: two convolutions per stage with instance norm and leaky ReLU, no deep
 * supervision; Dice and cross-entropy; SGD of rate 0.01 with Nesterov's momentum 0.99.
 */
import { diceCrossEntropy, sgd } from "../../engine/nn/mod.ts";
import type { Tensor } from "../../engine/mod.ts";
import { plainConvUNet } from "../../models/mod.ts";
import type { Input, Item, Vg } from "./item.ts";

export interface PlainUNetSizes {
  readonly features: readonly number[];
  /** Patches are cubes of this size. */
  readonly patch: number;
  readonly batch: number;
}

const CLASSES = 2;
const notHere = { cannot: "not written for it" };

/** Names of the published state dict and shapes; only the head that is used. */
function parametersOf(features: readonly number[]): [string, Input][] {
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
  const head = `decoder.seg_layers.${features.length - 2}`;
  conv(head, [CLASSES, features[0], 1, 1, 1], 1);
  list.push([`${head}.bias`, { shape: [CLASSES], values: "zeros" }]);
  return list;
}

/** Training step and Hessian-vector product. */
export function plainUNet({ features, patch, batch }: PlainUNetSizes): Item[] {
  const model = plainConvUNet({ inputChannels: 1, features, classes: CLASSES, convsPerStage: 2 });
  const parameters = parametersOf(features);
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
  const loss = (x: Tensor, labels: Tensor) => (params: any): Tensor =>
    diceCrossEntropy(model.apply(params, x) as Tensor, labels);
  const title = `U-Net ${features.join(" ")}, ${patch} cubed, batch ${batch}`;
  const python = `(${JSON.stringify(names)}, ${features.length})`;
  return [
    {
      name: `${title}: training step`,
      inputs: [...weights, ...zeros, ...data],
      read: "first",
      carry: true,
      ours: (vg) => {
        const optimizer = sgd({ momentum: 0.99, nesterov: true });
        return (...all) => {
          const [params, velocity] = [named(vg, all.slice(0, count)), named(vg, all.slice(count, 2 * count))];
          const [value, grads] = vg.valueAndGrad(loss(all.at(-2)!, all.at(-1)!))(params);
          const [next, state] = optimizer.update(grads, { velocity }, params, 0.01);
          return [value, ...listed(vg, next), ...listed(vg, state.velocity)];
        };
      },
      jax: notHere,
      tfjs: notHere,
      torch: `PlainUNetStep${python}`,
    },
    {
      name: `${title}: Hessian-vector product`,
      inputs: [...weights, ...data],
      ours: (vg) => (...all) => {
        const params = named(vg, all.slice(0, count));
        return listed(vg, vg.hvp(loss(all.at(-2)!, all.at(-1)!), [params], [params])[0]);
      },
      jax: notHere,
      tfjs: notHere,
      torch: `PlainUNetHvp${python}`,
    },
  ];
}
