/** Configuration shared by encoder-decoder networks: channels, kernels and strides by stage. */
import { check, show, Tensor } from "../engine/segmenting.ts";

/** One number for all axes, or one per axis ([D, H, W] or [H, W]). */
export type Extent = number | readonly number[];

export interface TopologyConfig {
  readonly inputChannels: number;
  /** Channels of every stage, finest first; as many as there are stages. */
  readonly features: readonly number[];
  /** Odd kernel sizes: one for all stages, or one per stage (a number or a list with one per axis). Default 3. */
  readonly kernels?: number | readonly Extent[];
  /** Stride on entering every stage, usually 1 for the first; as `kernels`. Default 1, 2, 2, ... */
  readonly strides?: number | readonly Extent[];
  readonly classes: number;
  /** 2 or 3; default inferred from the lists in kernels or strides, else 3. */
  readonly dimensions?: 2 | 3;
}

/** Names of the entries of TopologyConfig. */
export const TOPOLOGY_KEYS = ["inputChannels", "features", "kernels", "strides", "classes", "dimensions"];

/** The configuration with all defaults filled in, one list per stage. */
export interface Topology {
  readonly inputChannels: number;
  readonly features: readonly number[];
  readonly kernels: readonly (readonly number[])[];
  readonly strides: readonly (readonly number[])[];
  readonly classes: number;
  readonly dimensions: number;
}

export const isCount = (n: unknown): n is number => Number.isInteger(n) && (n as number) >= 1;

/**
 * Checks the common entries and fills in their defaults.
 *
 * @param name the network's, for messages
 * @throws VoxgradError naming the entry, what it is and what it should be
 */
export function resolveTopology(name: string, config: TopologyConfig): Topology {
  const { inputChannels, features, classes } = config;
  check(isCount(inputChannels), name, () => `inputChannels is an integer >= 1, got ${show(inputChannels)}`);
  check(isCount(classes), name, () => `classes is an integer >= 1, got ${show(classes)}`);
  check(
    Array.isArray(features) && features.length >= 2 && features.every(isCount),
    name,
    () => `features lists the channels of two stages or more, got ${show(features)}`,
  );
  const kernels = config.kernels ?? 3;
  const strides = config.strides ?? features.map((_, s) => (s === 0 ? 1 : 2));
  const list = [kernels, strides].flat().find((entry): entry is readonly number[] => Array.isArray(entry));
  const dimensions = config.dimensions ?? list?.length ?? 3;
  check(
    dimensions === 2 || dimensions === 3,
    name,
    () => `the network has 2 or 3 dimensions, got ${show(list ?? dimensions)}`,
  );
  const extents = (
    key: string,
    value: number | readonly Extent[],
    valid: (n: number) => boolean,
    what: string,
  ): number[][] => {
    const perStage: readonly Extent[] = Array.isArray(value) ? value : features.map(() => value as number);
    check(
      perStage.length === features.length,
      name,
      () => `${key} has one entry per stage, ${features.length}, got ${show(value)}`,
    );
    return perStage.map((entry) => {
      const extent = Array.isArray(entry) ? [...entry] : new Array<number>(dimensions).fill(entry as number);
      check(
        extent.length === dimensions && extent.every((n) => isCount(n) && valid(n)),
        name,
        () => `${key} are ${what}, or ${dimensions} of them a stage, got ${show(entry)}`,
      );
      return extent;
    });
  };
  return {
    inputChannels,
    classes,
    dimensions,
    features: [...features],
    kernels: extents("kernels", kernels, (n) => n % 2 === 1, "odd numbers"),
    strides: extents("strides", strides, () => true, "integers >= 1"),
  };
}

/** One count for all of `length` stages, or one each. */
export function countsPerStage(name: string, key: string, value: number | readonly number[], length: number): number[] {
  const all = typeof value === "number" ? new Array<number>(length).fill(value) : [...value];
  check(
    all.length === length && all.every(isCount),
    name,
    () => `${key} is an integer >= 1 or ${length} of them, got ${show(value)}`,
  );
  return all;
}

/** Required divisors of the input size, by axis. */
export const strideProducts = ({ strides, dimensions }: Topology): number[] =>
  Array.from({ length: dimensions }, (_, k) => strides.reduce((product, stride) => product * stride[k], 1));

/**
 * Rejects an input whose size is not divisible by the strides, and names valid sizes.
 *
 * @throws VoxgradError
 */
export function checkNetworkInput(name: string, c: Topology, input: unknown): asserts input is Tensor {
  const space = c.dimensions === 3 ? ["depth", "height", "width"] : ["height", "width"];
  check(
    input instanceof Tensor && input.rank === c.dimensions + 2 && input.shape[1] === c.inputChannels,
    name,
    () =>
      `the input is [N, ${c.inputChannels}, ${space.join(", ")}], got ${
        show(input instanceof Tensor ? input.shape : input)
      }`,
  );
  const factors = strideProducts(c);
  const problems = input.shape.slice(2).flatMap((n, k) => {
    const f = factors[k];
    if (n > 0 && n % f === 0) return [];
    const below = Math.floor(n / f) * f;
    return [`${space[k]} ${n} is not divisible by ${f}; ${below > 0 ? `${below} or ${below + f}` : f} would do`];
  });
  check(
    problems.length === 0,
    name,
    () => `the strides do not divide the input ${show(input.shape)}: ${problems.join("; ")}; pad or crop the input`,
  );
}
