/** The configuration of a U-Net: what may be left out filled in, what cannot be refused. */
import { check, checkOptions, show, Tensor, VoxgradError } from "../../engine/mod.ts";

/** One number for all axes, or one an axis ([D, H, W] or [H, W]). */
export type Extent = number | readonly number[];

export interface UNetConfig {
  readonly inputChannels: number;
  /** Channels of every stage, finest first; as many as there are stages. */
  readonly features: readonly number[];
  /** Odd kernel sizes: one for all stages, or one (a number or a list with one an axis) per stage. Default 3. */
  readonly kernels?: number | readonly Extent[];
  /** Stride on entering every stage, usually 1 for the first; as `kernels`. Default 1, 2, 2, ... */
  readonly strides?: number | readonly Extent[];
  readonly classes: number;
  /** PlainConvUNet: convolutions of every encoder stage, one number or one per stage. Default 2. */
  readonly convsPerStage?: number | readonly number[];
  /** ResidualEncoderUNet: residual blocks of every encoder stage, one number or one per stage. */
  readonly blocksPerStage?: number | readonly number[];
  /** Convolutions of every decoder stage, coarsest first. Default 2 for the plain network, 1 for the residual one. */
  readonly decoderConvsPerStage?: number | readonly number[];
  /** Give logits at every decoder stage. Default false. */
  readonly deepSupervision?: boolean;
  /** 2 or 3; default as the lists in kernels or strides, else 3. */
  readonly dimensions?: 2 | 3;
}

/** Every entry written out, one list per stage. */
export interface ResolvedUNet {
  readonly inputChannels: number;
  readonly features: readonly number[];
  readonly kernels: readonly (readonly number[])[];
  readonly strides: readonly (readonly number[])[];
  readonly classes: number;
  /** Convolutions or blocks of every encoder stage. */
  readonly perStage: readonly number[];
  readonly decoderConvsPerStage: readonly number[];
  readonly deepSupervision: boolean;
  readonly dimensions: number;
}

const isWhole = (n: unknown, least = 1): n is number => Number.isInteger(n) && (n as number) >= least;

const KEYS = [
  "inputChannels",
  "features",
  "kernels",
  "strides",
  "classes",
  "decoderConvsPerStage",
  "deepSupervision",
  "dimensions",
];

/** Checks a configuration and fills in its defaults; `stages` is the entry that counts convolutions or blocks. */
export function resolve(name: string, config: UNetConfig, stages: "convsPerStage" | "blocksPerStage"): ResolvedUNet {
  checkOptions(name, config, [...KEYS, stages]);
  const { inputChannels, features, classes, deepSupervision = false } = config;
  check(isWhole(inputChannels), name, () => `inputChannels is a whole number >= 1, got ${show(inputChannels)}`);
  check(isWhole(classes), name, () => `classes is a whole number >= 1, got ${show(classes)}`);
  check(
    Array.isArray(features) && features.length >= 2 && features.every((n) => isWhole(n)),
    name,
    () => `features lists the channels of two stages or more, got ${show(features)}`,
  );
  check(
    typeof deepSupervision === "boolean",
    name,
    () => `deepSupervision is true or false, got ${show(deepSupervision)}`,
  );
  const count = features.length;

  const kernels = config.kernels ?? 3;
  const strides = config.strides ?? features.map((_, s) => (s === 0 ? 1 : 2));
  const list = [kernels, strides].flat().find((entry): entry is readonly number[] => Array.isArray(entry));
  const dimensions = config.dimensions ?? list?.length ?? 3;
  check(
    dimensions === 2 || dimensions === 3,
    name,
    () => `a U-Net has 2 or 3 dimensions, got ${show(list ?? dimensions)}`,
  );

  const extents = (
    key: string,
    value: number | readonly Extent[],
    valid: (n: number) => boolean,
    what: string,
  ): number[][] => {
    const perStage: readonly Extent[] = Array.isArray(value) ? value : features.map(() => value as number);
    check(perStage.length === count, name, () => `${key} has one entry per stage, ${count}, got ${show(value)}`);
    return perStage.map((entry) => {
      const extent = Array.isArray(entry) ? [...entry] : new Array<number>(dimensions).fill(entry as number);
      check(
        extent.length === dimensions && extent.every((n) => isWhole(n) && valid(n)),
        name,
        () => `${key} are ${what}, or ${dimensions} of them a stage, got ${show(entry)}`,
      );
      return extent;
    });
  };
  const counts = (key: string, value: number | readonly number[], length: number): number[] => {
    const all = typeof value === "number" ? new Array<number>(length).fill(value) : [...value];
    check(
      all.length === length && all.every((n) => isWhole(n)),
      name,
      () => `${key} is a whole number >= 1 or ${length} of them, got ${show(value)}`,
    );
    return all;
  };
  const plain = stages === "convsPerStage";
  check(
    plain || config.blocksPerStage !== undefined,
    name,
    () => "blocksPerStage is missing: residual blocks of every encoder stage, such as 2 or [1, 3, 4, 6]",
  );
  return {
    inputChannels,
    classes,
    deepSupervision,
    dimensions,
    features: [...features],
    kernels: extents("kernels", kernels, (n) => n % 2 === 1, "odd numbers"),
    strides: extents("strides", strides, () => true, "whole numbers >= 1"),
    perStage: counts(stages, config[stages] ?? 2, count),
    decoderConvsPerStage: counts("decoderConvsPerStage", config.decoderConvsPerStage ?? (plain ? 2 : 1), count - 1),
  };
}

/** Refuses an input that the strides do not divide, and says which sizes would do. */
export function checkInput(name: string, c: ResolvedUNet, input: unknown): void {
  const space = c.dimensions === 3 ? ["depth", "height", "width"] : ["height", "width"];
  const wanted = `[N, ${c.inputChannels}, ${space.join(", ")}]`;
  if (!(input instanceof Tensor) || input.rank !== c.dimensions + 2 || input.shape[1] !== c.inputChannels) {
    throw new VoxgradError(
      `${name}: the input is ${wanted}, got ${input instanceof Tensor ? `[${input.shape.join(", ")}]` : show(input)}`,
    );
  }
  const factors = space.map((_, k) => c.strides.reduce((product, stride) => product * stride[k], 1));
  const sizes = input.shape.slice(2);
  const problems = sizes.flatMap((n, k) => {
    const f = factors[k];
    if (n > 0 && n % f === 0) return [];
    const below = Math.floor(n / f) * f;
    return [`${space[k]} ${n} is not divisible by ${f}; ${below > 0 ? `${below} or ${below + f}` : f} would do`];
  });
  if (problems.length > 0) {
    throw new VoxgradError(
      `${name}: the strides do not divide the input [${input.shape.join(", ")}]: ${problems.join("; ")}; ` +
        "pad or crop the input",
    );
  }
  if (sizes.every((n, k) => n === factors[k])) {
    throw new VoxgradError(
      `${name}: of the input [${input.shape.join(", ")}] one voxel is left at the coarsest stage, ` +
        "where instance norm would give nothing but its bias; " +
        `use an input larger than [${factors.join(", ")}] or fewer stages`,
    );
  }
}
