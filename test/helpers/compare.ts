/** Compares numbers with reference numbers. */
import * as assert from "uvu/assert";
import type { Shape, Tensor } from "../../engine/mod.ts";

/**
 * Largest difference over the largest finite magnitude of the reference; infinite for NaN and for a different length.
 */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Infinity;
  let worst = 0;
  let scale = 0;
  for (let k = 0; k < wanted.length; k++) {
    if (Number.isFinite(wanted[k])) scale = Math.max(scale, Math.abs(wanted[k]));
    if (got[k] === wanted[k]) continue;
    const difference = Math.abs(got[k] - wanted[k]);
    // NaN must not compare as small.
    worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
  }
  return worst / (scale || 1);
}

/** Largest relative error of single elements. */
export function elementError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Infinity;
  let worst = 0;
  for (let k = 0; k < wanted.length; k++) {
    if (got[k] === wanted[k]) continue;
    const error = Math.abs(got[k] - wanted[k]) / Math.abs(wanted[k]);
    worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
  }
  return worst;
}

/** Checks that arrays agree, relative to the largest magnitude of the reference. */
export function near(got: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number, what: string): void {
  const error = relativeError(got, wanted);
  assert.ok(error <= tolerance, `${what}: relative error ${error.toExponential(2)} above ${tolerance}`);
}

/** Checks that a number agrees, absolutely below 1 and relatively above; NaN agrees with NaN. */
export function nearNumber(got: number, wanted: number, tolerance: number, what: string): void {
  const close = Math.abs(got - wanted) <= tolerance * Math.max(1, Math.abs(wanted));
  assert.ok(close || (Number.isNaN(got) && Number.isNaN(wanted)), `${what}: ${got}, wanted ${wanted}`);
}

/** Checks that a tensor agrees with stored values, shape included. */
export async function assertClose(
  got: Tensor,
  wanted: { shape: Shape; data: ArrayLike<number> },
  tolerance: number,
  what: string,
): Promise<void> {
  assert.equal([...got.shape], [...wanted.shape], `${what}: shape`);
  near(await got.data(), wanted.data, tolerance, what);
}
