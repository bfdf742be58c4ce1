/** meshgrid and linspace. */
import { type DType, isFloat } from "../../core/dtype.ts";
import { check, checkFlag, checkNumber, checkOptions, ifTraced, show } from "../../core/errors.ts";
import { checkShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { arange, scalar } from "../elementwise/creation.ts";
import { add, cast, less, mul, sub, where } from "../elementwise/elementwise.ts";
import { broadcastTo } from "./broadcast_to.ts";
import { reshape } from "./reshape.ts";

/**
 * The coordinates of a grid, as `torch.meshgrid`: for vectors of lengths n, m, ... as many tensors [n, m, ...], the
 * k-th of which varies along axis k. They use no memory.
 *
 * @param options.indexing "ij" (default), or "xy", which exchanges the first two axes, as in numpy.meshgrid
 * @example
 * ```ts
 * import { arange, meshgrid } from "voxgrad";
 *
 * const [y, x] = meshgrid([arange(2), arange(3)]);
 * await y.array(); // [[0, 0, 0], [1, 1, 1]]
 * await x.array(); // [[0, 1, 2], [0, 1, 2]]
 * ```
 */
export function meshgrid(vectors: readonly Tensor[], options: { indexing?: "ij" | "xy" } = {}): Tensor[] {
  checkOptions("meshgrid", options, ["indexing"]);
  const { indexing = "ij" } = options;
  check(
    indexing === "ij" || indexing === "xy",
    "meshgrid",
    () => `indexing is "ij" or "xy", got ${show(indexing)}`,
  );
  check(
    Array.isArray(vectors) && vectors.length > 0 && vectors.every((x) => x instanceof Tensor && x.rank <= 1),
    "meshgrid",
    () => `the first argument is an array of at least one vector, got ${show(vectors)}`,
  );
  const axis = (k: number): number => (indexing === "xy" && k < 2 && vectors.length > 1 ? 1 - k : k);
  const shape = vectors.map((_, k) => vectors[axis(k)].size);
  checkShape("meshgrid", shape);
  return vectors.map((x, k) =>
    broadcastTo(reshape(x, { shape: shape.map((_, j) => (j === axis(k) ? x.size : 1)) }), { shape })
  );
}

/**
 * `num` numbers at equal distances from `start` to `stop`, both included, as `numpy.linspace`.
 *
 * @param options.endpoint whether `stop` is the last one; default: true
 * @param options.dtype f32 (default) or f16
 * @example
 * ```ts
 * import { linspace } from "voxgrad";
 *
 * await linspace(0, 1, { num: 5 }).array(); // [0, 0.25, 0.5, 0.75, 1]
 * await linspace(0, 1, { num: 4, endpoint: false }).array(); // [0, 0.25, 0.5, 0.75]
 * ```
 */
export function linspace(
  start: number,
  stop: number,
  options: { num: number; endpoint?: boolean; dtype?: DType },
): Tensor {
  checkOptions("linspace", options, ["num", "endpoint", "dtype"]);
  checkNumber("linspace", "start", start);
  checkNumber("linspace", "stop", stop);
  checkFlag("linspace", "endpoint", options.endpoint);
  const { num, endpoint, dtype = "f32" } = options;
  check(
    Number.isInteger(num) && num >= 0,
    "linspace",
    () => `num is an integer >= 0, got ${show(num)}${ifTraced(num)}`,
  );
  check(isFloat(dtype), "linspace", () => `dtype is f32 or f16, got ${show(dtype)}`);
  checkShape("linspace", [num]);
  const steps = Math.max(1, endpoint === false ? num : num - 1);
  const step = (stop - start) / steps;
  check(
    [start, stop, step].every(Number.isFinite),
    "linspace",
    () => `start and stop are finite, got ${start} and ${stop}`,
  );
  if (num <= 1) return scalar(start, dtype, [num]);
  // Counted from the nearer end, so that both are exact.
  const place = arange(num);
  const fromStart = add(mul(cast(place, "f32"), step), start);
  const fromStop = sub(stop, mul(cast(sub(steps, place), "f32"), step));
  return cast(where(less(place, Math.ceil(num / 2)), fromStart, fromStop), dtype);
}
