/** Slices of label maps: where a class lies in them, and how far from its outline places are. */

/** Across which axis a slice lies: 0 sagittal, 1 coronal, 2 axial. */
export type Axis = 0 | 1 | 2;

/** The two axes of a slice. */
export const acrossOf = (axis: Axis): readonly [Axis, Axis] => ([[1, 2], [0, 2], [0, 1]] as const)[axis];

/** The axis that slices are painted across: the coarsest one, along the body where all are alike. */
export const paintedAxis = (spacing: readonly number[]): Axis =>
  ([1, 0] as const).reduce<Axis>((a, b) => (spacing[b] > 1.01 * spacing[a] ? b : a), 2);

/** Distances in memory of neighbors along x, y, z. */
export const stridesOf = ([X, Y]: readonly number[]): readonly number[] => [1, X, X * Y];

/** The slices across an axis that show a class. */
export function slicesOf(labels: Uint8Array, shape: readonly number[], axis: Axis, value: number): number[] {
  const stride = stridesOf(shape)[axis];
  const shown = new Uint8Array(shape[axis]);
  for (let i = 0; i < labels.length; i++) if (labels[i] === value) shown[Math.floor(i / stride) % shape[axis]] = 1;
  return [...shown.keys()].filter((k) => shown[k] === 1);
}

/** The slices across an axis in which two label maps differ. */
export function differingSlices(a: Uint8Array, b: Uint8Array, shape: readonly number[], axis: Axis): number[] {
  const [across, up] = acrossOf(axis);
  const strides = stridesOf(shape);
  const differs = (slice: number): boolean => {
    for (let v = 0; v < shape[up]; v++) {
      let i = slice * strides[axis] + v * strides[up];
      for (let u = 0; u < shape[across]; u++, i += strides[across]) if (a[i] !== b[i]) return true;
    }
    return false;
  };
  return Array.from({ length: shape[axis] }, (_, slice) => slice).filter(differs);
}

/** Signed distances of the pixels of a slice to the outline of a class there: see signedDistances. */
export function sliceDistances(
  labels: Uint8Array,
  shape: readonly number[],
  axis: Axis,
  slice: number,
  value: number,
  spacing: readonly number[],
): Float32Array {
  const strides = stridesOf(shape);
  const [a, b] = acrossOf(axis);
  const mask = new Uint8Array(shape[a] * shape[b]);
  for (let v = 0, k = 0; v < shape[b]; v++) {
    for (let u = 0; u < shape[a]; u++, k++) {
      mask[k] = Number(labels[slice * strides[axis] + u * strides[a] + v * strides[b]] === value);
    }
  }
  return signedDistances(mask, [shape[a], shape[b]], [spacing[a], spacing[b]]);
}

/** Distances in mm to the nearest pixel of the other kind, negative inside of the mask: exact, by parabolas. */
export function signedDistances(
  mask: Uint8Array,
  shape: readonly [number, number],
  spacing: readonly [number, number],
): Float32Array {
  const [outside, inside] = [1, 0].map((kind) => squaredDistances(mask, kind, shape, spacing));
  return Float32Array.from(mask, (on, i) => (on ? -Math.sqrt(inside[i]) : Math.sqrt(outside[i])));
}

/** Squared distances to the nearest pixel of a kind (Felzenszwalb and Huttenlocher 2012). */
function squaredDistances(
  mask: Uint8Array,
  kind: number,
  [width, height]: readonly [number, number],
  spacing: readonly [number, number],
): Float64Array {
  const far = (width * spacing[0]) ** 2 + (height * spacing[1]) ** 2;
  const values = Float64Array.from(mask, (on) => (on === kind ? 0 : far));
  for (let v = 0; v < height; v++) lowerEnvelope(values, v * width, 1, width, spacing[0]);
  for (let u = 0; u < width; u++) lowerEnvelope(values, u, width, height, spacing[1]);
  return values;
}

function lowerEnvelope(values: Float64Array, start: number, stride: number, count: number, step: number): void {
  const f = Float64Array.from({ length: count }, (_, k) => values[start + k * stride]);
  const centers = new Int32Array(count);
  const bounds = new Float64Array(count + 1).fill(Infinity);
  bounds[0] = -Infinity;
  let last = 0;
  const meet = (p: number, q: number): number =>
    (f[q] - f[p] + (q * step) ** 2 - (p * step) ** 2) / (2 * step * step * (q - p));
  for (let q = 1; q < count; q++) {
    let at = meet(centers[last], q);
    while (at <= bounds[last]) at = meet(centers[--last], q);
    centers[++last] = q;
    bounds[last] = at;
    bounds[last + 1] = Infinity;
  }
  for (let q = 0, k = 0; q < count; q++) {
    while (bounds[k + 1] < q) k++;
    values[start + q * stride] = ((q - centers[k]) * step) ** 2 + f[centers[k]];
  }
}
