/** Pooling to a given size. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkOptions, refuseOptions, show } from "../../core/errors.ts";
import { checkShape, perAxis } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { tensor } from "../elementwise/creation.ts";
import { computeInF32 } from "../promote_f16.ts";
import { max, mean } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { take } from "../shape/take.ts";
import { moveAxis } from "../shape/transpose.ts";
import { matmul } from "./matmul.ts";

export interface AdaptivePoolOptions {
  /** Of the output: one number for all axes of space, or one per axis. */
  size: number | readonly number[];
}

function checkInput(name: string, x: Tensor): void {
  check(
    x instanceof Tensor && isFloat(x.dtype) && x.rank >= 3 && x.size > 0,
    name,
    () => `the input is a non-empty f32 tensor [N, C, ...space], got ${show(x)}`,
  );
}

/** Window i of `size` over an axis of n: from floor(i n / size) to ceil((i + 1) n / size). */
const windows = (n: number, size: number): [start: number, end: number][] =>
  Array.from({ length: size }, (_, i) => [Math.floor((i * n) / size), Math.ceil(((i + 1) * n) / size)]);

/** Applies f along each axis of space whose size changes. */
function eachAxis(
  name: string,
  x: Tensor,
  options: AdaptivePoolOptions,
  f: (x: Tensor, axis: number, size: number) => Tensor,
): Tensor {
  checkInput(name, x);
  checkOptions(name, options, ["size"]);
  const size = perAxis(name, "size", options.size, x.rank - 2, 1);
  checkShape(name, [...x.shape.slice(0, 2), ...size]);
  return size.reduce((y, m, k) => (y.shape[k + 2] === m ? y : f(y, k + 2, m)), x);
}

/** An axis of n as blocks of n / size, where the size divides n. */
const blocks = (x: Tensor, axis: number, size: number): Tensor =>
  reshape(x, { shape: x.shape.flatMap((n, k) => (k === axis ? [size, n / size] : [n])) });

/**
 * Means of x [N, C, ...space] over windows that give space the size asked for, as
 * torch.nn.functional.adaptive_avg_pool.
 *
 * @example
 * ```ts
 * import { adaptiveAvgPool, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 7, 9] });
 * const y = adaptiveAvgPool(x, { size: [3, 4] }); // [1, 8, 3, 4]
 * ```
 */
export const adaptiveAvgPool: (x: Tensor, options: AdaptivePoolOptions) => Tensor = computeInF32((x, options) =>
  eachAxis("adaptiveAvgPool", x, options, (y, axis, size) => {
    const n = y.shape[axis];
    if (n % size === 0) return mean(blocks(y, axis, size), { axes: [axis + 1] });
    const weights = new Float32Array(n * size);
    windows(n, size).forEach(([start, end], i) => {
      for (let k = start; k < end; k++) weights[k * size + i] = 1 / (end - start);
    });
    const rows = moveAxis(y, { source: axis, destination: -1 });
    return moveAxis(matmul(rows, tensor(weights, { shape: [n, size] })), { source: -1, destination: axis });
  })
);

/**
 * Maxima of x [N, C, ...space] over windows that give space the size asked for, as
 * torch.nn.functional.adaptive_max_pool. Equal values of a window share the gradient.
 *
 * @example
 * ```ts
 * import { adaptiveMaxPool, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 8, 7, 9] });
 * const y = adaptiveMaxPool(x, { size: 2 }); // [1, 8, 2, 2]
 * ```
 */
export const adaptiveMaxPool: (x: Tensor, options: AdaptivePoolOptions) => Tensor = computeInF32((x, options) =>
  eachAxis("adaptiveMaxPool", x, options, (y, axis, size) => {
    const n = y.shape[axis];
    if (n % size === 0) return max(blocks(y, axis, size), { axes: [axis + 1] });
    const list = windows(n, size);
    const widest = list.reduce((most, [start, end]) => Math.max(most, end - start), 0);
    // Windows that are shorter repeat their last entry.
    const places = list.flatMap(([start, end]) =>
      Array.from({ length: widest }, (_, k) => Math.min(start + k, end - 1))
    );
    return max(take(y, tensor(Int32Array.from(places), { shape: [size, widest] }), { axis }), { axes: [axis + 1] });
  })
);

/**
 * Mean of x [N, C, ...space] over space, as [N, C].
 *
 * @example
 * ```ts
 * import { globalAvgPool, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [2, 8, 4, 16, 16] });
 * const y = globalAvgPool(x); // [2, 8]
 * ```
 */
export function globalAvgPool(x: Tensor, ...rest: never[]): Tensor {
  refuseOptions("globalAvgPool", rest);
  checkInput("globalAvgPool", x);
  return mean(x, { axes: x.shape.map((_, k) => k).slice(2) });
}

/**
 * Maximum of x [N, C, ...space] over space, as [N, C]; equal values share the gradient.
 *
 * @example
 * ```ts
 * import { globalMaxPool, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [2, 8, 4, 16, 16] });
 * const y = globalMaxPool(x); // [2, 8]
 * ```
 */
export function globalMaxPool(x: Tensor, ...rest: never[]): Tensor {
  refuseOptions("globalMaxPool", rest);
  checkInput("globalMaxPool", x);
  return max(x, { axes: x.shape.map((_, k) => k).slice(2) });
}
