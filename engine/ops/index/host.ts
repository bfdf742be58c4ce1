/** unique and nonzero: functions whose result has a shape that depends on data, so they read it first. */
import { allocate } from "../../core/dtype.ts";
import { refuseOptions } from "../../core/errors.ts";
import { strides } from "../../core/shape.ts";
import { checkReadable, checkTensor, requireEvaluator, type Tensor } from "../../core/tensor.ts";
import { tensor } from "../elementwise/creation.ts";
import { reshape } from "../shape/reshape.ts";
import { argsort } from "./sort.ts";

export interface Unique {
  /** The different values, ascending; NaN last, once. */
  readonly values: Tensor;
  /** Where each occurs first in the flat tensor, i32. */
  readonly indices: Tensor;
  /** Which of the values each element is, i32, of the shape of x. */
  readonly inverse: Tensor;
  /** How often each occurs, i32. */
  readonly counts: Tensor;
}

/**
 * The different values of x, as `numpy.unique`. Their number depends on the data, so this computes x and reads it: it
 * is asynchronous, has no gradient, and is refused inside `compile`, `grad` and `vmap`.
 *
 * @param x of any shape
 * @throws VoxgradError inside a function that is traced
 * @example
 * ```ts
 * import { tensor, unique } from "voxgrad";
 *
 * const { values, counts } = await unique(tensor([3, 1, 3, 3]));
 * await values.array(); // [1, 3]
 * await counts.array(); // [1, 3]
 * ```
 */
export async function unique(x: Tensor, ...rest: never[]): Promise<Unique> {
  checkTensor("unique", x);
  refuseOptions("unique", rest);
  checkReadable("unique", [x]);
  const order = argsort(reshape(x, { shape: [x.size] }));
  await requireEvaluator().evaluate([x, order]);
  const [data, places] = await Promise.all([x.data(), order.data()]);
  const same = (a: number, b: number): boolean => a === b || (Number.isNaN(a) && Number.isNaN(b));
  const inverse = new Int32Array(x.size);
  const indices: number[] = [];
  const counts: number[] = [];
  places.forEach((place: number, k: number) => {
    if (k === 0 || !same(data[place], data[places[k - 1]])) {
      indices.push(place);
      counts.push(0);
    }
    counts[counts.length - 1]++;
    inverse[place] = indices.length - 1;
  });
  const values = allocate(x.dtype, indices.length);
  indices.forEach((place, k) => (values[k] = data[place]));
  return {
    values: tensor(values, { dtype: x.dtype, copy: false }),
    indices: tensor(new Int32Array(indices), { copy: false }),
    inverse: tensor(inverse, { shape: x.shape, copy: false }),
    counts: tensor(new Int32Array(counts), { copy: false }),
  };
}

/**
 * The coordinates of the elements of x that are not 0 (NaN is not), in row-major order, as `torch.nonzero`: i32
 * [count, rank]. Their number depends on the data, so this computes x and reads it: it is asynchronous, has no
 * gradient, and is refused inside `compile`, `grad` and `vmap`.
 *
 * @throws VoxgradError inside a function that is traced
 * @example
 * ```ts
 * import { nonzero, tensor } from "voxgrad";
 *
 * await (await nonzero(tensor([[0, 5], [7, 0]]))).array(); // [[0, 1], [1, 0]]
 * ```
 */
export async function nonzero(x: Tensor, ...rest: never[]): Promise<Tensor> {
  checkTensor("nonzero", x);
  refuseOptions("nonzero", rest);
  checkReadable("nonzero", [x]);
  const data = await x.data();
  let count = 0;
  for (let k = 0; k < data.length; k++) if (data[k] !== 0) count++;
  const { rank, shape } = x;
  const steps = strides(shape);
  const places = new Int32Array(count * rank);
  let row = 0;
  for (let k = 0; k < data.length; k++) {
    if (data[k] === 0) continue;
    for (let axis = 0; axis < rank; axis++) places[row * rank + axis] = Math.floor(k / steps[axis]) % shape[axis];
    row++;
  }
  return tensor(places, { shape: [count, rank], copy: false });
}
