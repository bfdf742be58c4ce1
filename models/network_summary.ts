/** Parameters and multiply-adds of a network, part by part. */
import { countProducts, random, type Tensor, tree, zeros } from "../engine/mod.ts";
import type { Model } from "./unet/unet.ts";

export interface PartSummary {
  /** Beginning of the names of its parameters; "" for products without parameters. */
  readonly name: string;
  readonly parameters: number;
  readonly multiplyAdds: number;
}

export interface NetworkSummary {
  readonly parts: readonly PartSummary[];
  readonly parameters: number;
  /** Of convolutions, transposed convolutions and matrix products of all outputs; FLOPs are twice as many. */
  readonly multiplyAdds: number;
  /** Shapes of the outputs. */
  readonly outputs: readonly (readonly number[])[];
}

/**
 * Counts a network without computing or allocating anything, so sizes do not matter.
 *
 * @param options.input shape, [N, C, D, H, W]
 * @param options.depth how many names, joined by dots, make a part; up to the first number unless given
 * @throws VoxgradError for an input that the network refuses
 * @example
 * ```ts
 * import { conResNet, summarizeNetwork } from "voxgrad/models";
 *
 * const model = conResNet({ inputChannels: 4, classes: 3 });
 * const { parameters, multiplyAdds } = summarizeNetwork(model, { input: [1, 4, 80, 160, 160] });
 * ```
 */
export function summarizeNetwork(
  model: Pick<Model<Tensor | Tensor[], unknown>, "init" | "apply">,
  options: { input: readonly number[]; depth?: number },
): NetworkSummary {
  const { input, depth } = options;
  const params = model.init(random.key(0));
  let outputs: number[][] = [];
  const forward = (p: any, x: Tensor): Tensor | Tensor[] => {
    const result = model.apply(p, x);
    outputs = [result].flat().map((y) => [...y.shape]);
    return result;
  };
  const partOf = (path: string): string => {
    const names = path.split(".");
    const number = names.findIndex((name) => /^\d+$/.test(name));
    return names.slice(0, depth ?? (number < 0 ? names.length - 1 : Math.max(1, number))).join(".");
  };
  const parts = new Map<string, { parameters: number; multiplyAdds: number }>();
  const add = (part: string, parameters: number, multiplyAdds: number): void => {
    const before = parts.get(part) ?? { parameters: 0, multiplyAdds: 0 };
    parts.set(part, {
      parameters: before.parameters + parameters,
      multiplyAdds: before.multiplyAdds + multiplyAdds,
    });
  };
  for (const [path, p] of tree.flatten(params)) add(partOf(path), p.size, 0);
  for (const { multiplyAdds, from } of countProducts(forward, params, zeros(input))) {
    // Arguments are parameters (0) and image (1).
    const own = from.find((path) => path.startsWith("0."));
    add(own === undefined ? "" : partOf(own.slice(2)), 0, multiplyAdds);
  }
  const rows = [...parts].map(([name, counts]): PartSummary => ({ name, ...counts }));
  const total = (pick: (row: PartSummary) => number): number => rows.reduce((sum, row) => sum + pick(row), 0);
  return {
    parts: rows,
    parameters: total((row) => row.parameters),
    multiplyAdds: total((row) => row.multiplyAdds),
    outputs,
  };
}
