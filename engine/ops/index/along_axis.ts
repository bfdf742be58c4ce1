/** takeAlongAxis, scatterAdd and segmentSum. */
import { check, checkOptions, show } from "../../core/errors.ts";
import { broadcastShapes, checkShape, normalizeAxis, sameShape, type Shape } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { add, cast, maximum, minimum } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { reshape } from "../shape/reshape.ts";
import { gatherAt, scatterAt } from "./gather.ts";
import { checkIndices, checkPlaces } from "./indices.ts";

const without = (shape: Shape, axis: number): number[] => shape.map((n, k) => (k === axis ? 1 : n));

/**
 * The entries of x at indices along an axis, each line by its own indices, as `jax.numpy.take_along_axis` and
 * `torch.gather`: y[i, j] = x[i, indices[i, j]] for the last axis.
 *
 * @param indices i32 or u32, of the rank of x; other axes than `axis` broadcast against those of x. Indices known on
 *   the host lie in [0, n), others are clamped to it
 * @param options.axis default: the last
 * @throws VoxgradError for indices of other ranks or shapes, or known to be out of range
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * await x.takeAlongAxis(tensor([[2, 0], [1, 1]], { dtype: "i32" })).array(); // [[3, 1], [5, 5]]
 * ```
 */
export function takeAlongAxis(x: Tensor, indices: Tensor, options: { axis?: number } = {}): Tensor {
  checkTensor("takeAlongAxis", x);
  checkOptions("takeAlongAxis", options, ["axis"]);
  const axis = normalizeAxis("takeAlongAxis", options.axis ?? -1, x.rank);
  const n = x.shape[axis];
  checkIndices("takeAlongAxis", indices, n);
  check(
    indices.rank === x.rank,
    "takeAlongAxis",
    () => `indices have the rank of the input ${x}, got ${indices}`,
  );
  check(n > 0 || indices.size === 0, "takeAlongAxis", () => `axis ${axis} of ${show(x.shape)} is empty`);
  const shape = [...broadcastShapes("takeAlongAxis", without(x.shape, axis), without(indices.shape, axis))];
  shape[axis] = n;
  checkShape("takeAlongAxis", shape.map((m, k) => (k === axis ? indices.shape[axis] : m)));
  const places = minimum(maximum(cast(indices, "i32"), 0), n - 1);
  return gatherAt(broadcastTo(x, { shape }), places, { axis, distinct: false });
}

/**
 * x with values added at indices along an axis, each line by its own indices, as `torch.scatter_add`:
 * y[i, indices[i, j]] = x[i, indices[i, j]] + values[i, j] for the last axis. Values with one index are added in their
 * order, without atomics, so every run gives the same bits.
 *
 * @param indices i32 or u32, of the shape of the values. Indices known on the host lie in [0, n); what others place out
 *   of it is left out
 * @param values of the dtype of x (f32, f16, i32 or u32), and of its shape except along `axis`
 * @param options.axis default: the last
 * @throws VoxgradError for indices or values of other shapes, or indices known to be out of range
 * @example
 * ```ts
 * import { tensor, zeros } from "voxgrad";
 *
 * const indices = tensor([0, 2, 0], { dtype: "i32" });
 * await zeros([4]).scatterAdd(indices, tensor([1, 2, 3])).array(); // [4, 0, 2, 0]
 * ```
 */
export const scatterAdd: (x: Tensor, indices: Tensor, values: Tensor, options?: { axis?: number }) => Tensor =
  computeInF32(
    (x, indices, values, options = {}) => {
      checkTensor("scatterAdd", x);
      checkTensor("scatterAdd", values, "the values");
      checkOptions("scatterAdd", options, ["axis"]);
      const axis = normalizeAxis("scatterAdd", options.axis ?? -1, x.rank);
      checkIndices("scatterAdd", indices, x.shape[axis]);
      check(x.dtype !== "bool", "scatterAdd", () => `dtype bool has no sums; cast to i32 first`);
      check(
        values.dtype === x.dtype,
        "scatterAdd",
        () => `the values have the dtype of the input, ${x.dtype}, got ${values.dtype}`,
      );
      check(
        sameShape(indices.shape, values.shape) && sameShape(without(values.shape, axis), without(x.shape, axis)),
        "scatterAdd",
        () =>
          `indices and values have one shape, that of the input ${show(x.shape)} except along axis ${axis}, got ` +
          `${show(indices.shape)} and ${show(values.shape)}`,
      );
      return add(x, scatterAt(values, cast(indices, "i32"), x.shape[axis], { axis, distinct: false }));
    },
    { kind: "sum" },
  );

/**
 * Sums of the entries of x along an axis by segment, as `jax.ops.segment_sum`: entry j is added to segment ids[j].
 * Entries of one segment are added in their order, without atomics, so every run gives the same bits. An empty segment
 * is 0.
 *
 * @param ids i32 or u32 vector, one for each entry, in any order. Ids known on the host lie in [0, segments); entries
 *   of others out of it are left out
 * @param options.segments the size of the axis of the result
 * @param options.axis default: 0
 * @throws VoxgradError for ids of another length, or known to be out of range
 * @example
 * ```ts
 * import { segmentSum, tensor } from "voxgrad";
 *
 * const ids = tensor([0, 2, 0], { dtype: "i32" });
 * await segmentSum(tensor([1, 2, 3]), ids, { segments: 4 }).array(); // [4, 0, 2, 0]
 * ```
 */
export const segmentSum: (x: Tensor, ids: Tensor, options: { segments: number; axis?: number }) => Tensor =
  computeInF32(
    (input, ids, options) => {
      checkTensor("segmentSum", input);
      checkOptions("segmentSum", options, ["segments", "axis"]);
      const axis = normalizeAxis("segmentSum", options.axis ?? 0, input.rank);
      const { segments } = options;
      checkPlaces("segmentSum", "segments", segments);
      checkIndices("segmentSum", ids, segments, "ids");
      const n = input.shape[axis];
      check(
        ids.rank === 1 && ids.size === n,
        "segmentSum",
        () => `ids are a vector with one for each of the ${n} entries along axis ${axis}, got ${ids}`,
      );
      checkShape("segmentSum", input.shape.map((m, k) => (k === axis ? segments : m)));
      const x = input.dtype === "bool" ? cast(input, "i32") : input;
      const places = reshape(cast(ids, "i32"), { shape: x.shape.map((_, k) => (k === axis ? n : 1)) });
      return scatterAt(x, places, segments, { axis, distinct: false });
    },
    { kind: "sum" },
  );
