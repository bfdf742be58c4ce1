/** Parameter initialization: He's and Glorot's schemes, orthogonal, constants, and whole trees from one random key. */
import { check, checkOptions, show } from "../core/errors.ts";
import { type Shape, size } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { ones, tensor, zeros } from "../ops/elementwise/creation.ts";
import { add, mul } from "../ops/elementwise/elementwise.ts";
import * as random from "../ops/random/draws.ts";
import { reshape } from "../ops/shape/reshape.ts";
import { slice } from "../ops/shape/slice.ts";
import { newtonSchulz } from "./newton_schulz.ts";

export interface KaimingOptions {
  /**
   * Shape of a weight: output channels (input channels if transposed) first, then the axes that one output sums over.
   */
  shape: Shape;
  /** Negative slope of the leaky ReLU that follows; default: 0, a ReLU. nnU-Net uses 0.01. */
  a?: number;
}

/**
 * Gain / sqrt(fan in). As in PyTorch, the fan in is the size of one entry along the first axis, for transposed
 * convolutions too.
 */
function scale(name: string, options: KaimingOptions): { std: number; shape: Shape } {
  checkOptions(name, options, ["shape", "a"]);
  const { shape, a = 0 } = options;
  check(
    Array.isArray(shape) && shape.length >= 2 && size(shape) > 0,
    name,
    () => `a weight has two axes or more and is not empty, got shape ${show(shape)}`,
  );
  check(Number.isFinite(a), name, () => `the slope a is a number, got ${show(a)}`);
  return { std: Math.sqrt(2 / (1 + a * a) / (size(shape) / shape[0])), shape };
}

/**
 * Normal with standard deviation sqrt(2 / ((1 + a^2) fanIn)): He et al. 2015, torch.nn.init.kaiming_normal_.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { kaimingNormal } from "voxgrad/nn";
 *
 * const weight = kaimingNormal(random.key(1), { shape: [32, 1, 3, 3, 3], a: 0.01 });
 * ```
 */
export function kaimingNormal(key: Tensor, options: KaimingOptions): Tensor {
  const { std, shape } = scale("kaimingNormal", options);
  return random.normal(key, { shape, std });
}

/**
 * Uniform in (-b, b) with b = sqrt(6 / ((1 + a^2) fanIn)), torch.nn.init.kaiming_uniform_. a = sqrt(5) gives PyTorch's
 * default for convolutions and linear layers.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { kaimingUniform } from "voxgrad/nn";
 *
 * const weight = kaimingUniform(random.key(1), { shape: [10, 64], a: Math.sqrt(5) });
 * ```
 */
export function kaimingUniform(key: Tensor, options: KaimingOptions): Tensor {
  const { std, shape } = scale("kaimingUniform", options);
  const bound = Math.sqrt(3) * std;
  return random.uniform(key, { shape, min: -bound, max: bound });
}

export interface XavierOptions {
  /** Shape of a weight: output channels first, then input channels and the kernel. */
  shape: Shape;
  /** Factor for the activation that follows, such as 5 / 3 for tanh; default: 1. */
  gain?: number;
}

/** gain sqrt(2 / (fan in + fan out)). */
function xavierDeviation(name: string, options: XavierOptions): number {
  checkOptions(name, options, ["shape", "gain"]);
  const { shape, gain = 1 } = options;
  check(
    Array.isArray(shape) && shape.length >= 2 && size(shape) > 0,
    name,
    () => `a weight has two axes or more and is not empty, got shape ${show(shape)}`,
  );
  check(Number.isFinite(gain) && gain > 0, name, () => `gain is a number > 0, got ${show(gain)}`);
  const receptive = size(shape) / shape[0] / shape[1];
  return gain * Math.sqrt(2 / (receptive * (shape[0] + shape[1])));
}

/**
 * Normal with standard deviation gain sqrt(2 / (fanIn + fanOut)): Glorot and Bengio 2010, torch.nn.init.xavier_normal_.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { xavierNormal } from "voxgrad/nn";
 *
 * const weight = xavierNormal(random.key(1), { shape: [10, 64] }); // [10, 64]
 * ```
 */
export function xavierNormal(key: Tensor, options: XavierOptions): Tensor {
  return random.normal(key, { shape: options.shape, std: xavierDeviation("xavierNormal", options) });
}

/**
 * Uniform in (-b, b) with b = gain sqrt(6 / (fanIn + fanOut)): Glorot and Bengio 2010, torch.nn.init.xavier_uniform_.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { xavierUniform } from "voxgrad/nn";
 *
 * const weight = xavierUniform(random.key(1), { shape: [10, 64], gain: 5 / 3 }); // [10, 64]
 * ```
 */
export function xavierUniform(key: Tensor, options: XavierOptions): Tensor {
  const bound = Math.sqrt(3) * xavierDeviation("xavierUniform", options);
  return random.uniform(key, { shape: options.shape, min: -bound, max: bound });
}

/** Iterations that grow singular values of 1e-6 to about 1, then others that bring them to 1 quadratically. */
const POLAR = [
  ...new Array(12).fill([3.4445, -4.775, 2.0315]),
  ...new Array(6).fill([1.5, -0.5, 0]),
] as readonly (readonly [number, number, number])[];

/**
 * A weight with orthonormal rows, or columns if it has more rows, times `gain`: Saxe et al. 2014,
 * torch.nn.init.orthogonal_. It is the orthogonal factor of a normal matrix, which is distributed evenly over all.
 *
 * @param options.shape output channels first; the other axes count as columns
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { orthogonal } from "voxgrad/nn";
 *
 * const weight = orthogonal(random.key(1), { shape: [4, 8] }); // [4, 8]
 * ```
 */
export function orthogonal(key: Tensor, options: XavierOptions): Tensor {
  xavierDeviation("orthogonal", options);
  const { shape, gain = 1 } = options;
  const matrix = random.normal(key, { shape: [shape[0], size(shape) / shape[0]] });
  return mul(reshape(newtonSchulz(matrix, POLAR), { shape }), gain);
}

/** A parameter to be initialized: its shape and a function from a key to its initial value. A leaf of trees. */
export class Parameter {
  readonly shape: Shape;
  readonly fill: (key: Tensor, shape: Shape) => Tensor;

  constructor(shape: Shape, fill: (key: Tensor, shape: Shape) => Tensor) {
    this.shape = shape;
    this.fill = fill;
  }
}

const constantOf = (make: (shape: Shape) => Tensor) => (shape: Shape): Parameter =>
  new Parameter(shape, () => make(shape));
/**
 * A parameter initialized to 0.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, zerosParameter } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), { bias: zerosParameter([2]) });
 * await params.bias.array(); // [0, 0]
 * ```
 */
export const zerosParameter: (shape: Shape) => Parameter = constantOf((shape) => zeros(shape));
/**
 * A parameter initialized to 1.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { initialize, onesParameter } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), { scale: onesParameter([2]) });
 * await params.scale.array(); // [1, 1]
 * ```
 */
export const onesParameter: (shape: Shape) => Parameter = constantOf((shape) => ones(shape));
/**
 * A weight with He normal initialization; a is the slope of the activation that follows.
 *
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { heParameter, initialize } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), { weight: heParameter([8, 1, 3, 3, 3], 0.01) });
 * params.weight.shape; // [8, 1, 3, 3, 3]
 * ```
 */
export const heParameter = (shape: Shape, a = 0): Parameter =>
  new Parameter(shape, (key) => kaimingNormal(key, { shape, a }));

/** A 64-bit hash of a name in two words: FNV-1a, forwards and backwards. */
function wordsOf(name: string): [number, number] {
  const hash = (codes: readonly number[]): number =>
    codes.reduce((h, code) => Math.imul(h ^ code, 0x01000193), 0x811c9dc5) >>> 0;
  const codes = Array.from(name, (c) => c.codePointAt(0)!);
  return [hash(codes), hash(codes.reverse())];
}

/** The type of a specification with Parameters replaced by tensors. */
export type Initialized<T> = T extends Parameter ? Tensor
  : T extends object ? { [K in keyof T]: Initialized<T[K]> }
  : T;

/**
 * Initializes a tree of Parameters. Each value depends only on the key and its path, so networks that differ in one
 * part share the initial values of all others.
 *
 * @returns the same structure with Parameters replaced by tensors
 * @throws VoxgradError for a leaf that is not a Parameter, naming its path
 * @example
 * ```ts
 * import { random } from "voxgrad";
 * import { convParameters, initialize, normParameters } from "voxgrad/nn";
 *
 * const params = initialize(random.key(1), { conv: convParameters(1, 8, [3, 3, 3]), norm: normParameters(8) });
 * params.conv.weight; // Tensor(f32[8, 1, 3, 3, 3])
 * ```
 */
export function initialize<T>(key: Tensor, specification: T): Initialized<T> {
  const parameters: Parameter[] = [];
  const words: number[] = [];
  tree.map<unknown, void>(specification, (leaf, path) => {
    check(leaf instanceof Parameter, "initialize", () => `the leaf ${path} is no Parameter: ${show(leaf)}`);
    parameters.push(leaf);
    words.push(...wordsOf(path));
  });
  if (parameters.length === 0) return specification as Initialized<T>;
  const keys = add(key, tensor(Uint32Array.from(words), { shape: [parameters.length, 2] }));
  return tree.rebuild(
    specification as unknown,
    parameters.map((p, k) => p.fill(reshape(slice(keys, { start: [k, 0], end: [k + 1, 2] }), { shape: [2] }), p.shape)),
  ) as Initialized<T>;
}
