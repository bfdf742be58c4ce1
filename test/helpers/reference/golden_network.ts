/** A network against numbers of the same architecture in PyTorch, with weights and inputs by the formula of `fill`. */
import * as assert from "uvu/assert";
import { random, type Tensor, tensor, tree } from "../../../engine/mod.ts";
import { near } from "../compare.ts";
import { fill, filled } from "./fill.ts";

export interface GoldenNetwork {
  readonly config: { readonly inputChannels: number; readonly classes: number };
  /** Of the input, [D, H, W]. */
  readonly size: readonly number[];
  /** Names and shapes of the state dict; empty: not compared. */
  readonly names: readonly (readonly [string, readonly number[]])[];
  /** Of the one sample, every `every`-th. */
  readonly logits: readonly number[];
}

/** Checks names and shapes of the parameters, and the logits to 1e-4 of the largest. */
export async function checkGoldenNetwork<P extends object>(
  model: { init(key: Tensor): P; apply(params: P, input: Tensor): Tensor },
  { config, size, names, logits }: GoldenNetwork,
  { every, name }: { readonly every: number; readonly name: string },
): Promise<void> {
  const params = model.init(random.key(0));
  if (names.length > 0) {
    const own = [...tree.flatten(params)].map(([path, p]) => [path, [...p.shape]]);
    const sorted = (list: readonly unknown[]): string[] => list.map((each) => JSON.stringify(each)).sort();
    assert.equal(sorted(own), sorted(names));
  }
  const shape = [1, config.inputChannels, ...size];
  const input = tensor(new Float32Array(fill(shape, 99)), { shape });
  const output = model.apply(filled(params), input);
  assert.equal([...output.shape], [1, config.classes, ...size]);
  const data = Array.from((await output.data()) as Float32Array);
  near(data.filter((_, k) => k % every === 0), logits, 1e-4, name);
}
