/** The axis along which ConResNet compares slices, and the difference of neighboring slices. */
import { check, pad, show, slice, type Tensor } from "../../engine/mod.ts";
/**
 * Which slices are compared: axial along depth, coronal along height, sagittal along width of [N, C, depth, height,
 * width]. A plan may turn a scan, and these are the axes of the patch.
 */
export type ResidualAxis = "axial" | "coronal" | "sagittal";

const AXES: readonly ResidualAxis[] = ["axial", "coronal", "sagittal"];

/** 0, 1 or 2 of space, or an error in the name of the function. */
export function spaceAxis(name: string, axis: ResidualAxis): number {
  const k = AXES.indexOf(axis);
  check(k >= 0, name, () => `axis is "axial", "coronal" or "sagittal", got ${show(axis)}`);
  return k;
}

/**
 * The axis of the patch along which slices of a scan lie, where the plan may have turned it.
 *
 * @param axis of the oriented scan, whose axes are z, y, x
 * @param transpose of the plan: axis k of the patch is axis transpose[k] of the scan
 */
export function patchAxis(axis: ResidualAxis, transpose: readonly number[]): ResidualAxis {
  return AXES[transpose.indexOf(spaceAxis("patchAxis", axis))];
}

/** Each slice of x but the first along an axis of the tensor, and each but the last: neighbors at the same place. */
export function neighbors(x: Tensor, axis: number): [later: Tensor, earlier: Tensor] {
  const at = (value: number): number[] => x.shape.map((_, k) => (k === axis ? value : 0));
  const end = x.shape.map((n, k) => (k === axis ? n - 1 : n));
  return [slice(x, { start: at(1) }), slice(x, { end })];
}

/** x with a slice of zeros in front along an axis of the tensor: where there is no earlier slice, nothing differs. */
export const behindZeros = (x: Tensor, axis: number): Tensor =>
  pad(x, { before: x.shape.map((_, k) => Number(k === axis)) });

/** |difference of neighboring slices| (Eq. 4 but for the sigmoid), the first slice 0. */
export function sliceResidual(x: Tensor, axis: number): Tensor {
  const [later, earlier] = neighbors(x, axis);
  return behindZeros(later.sub(earlier).abs(), axis);
}
