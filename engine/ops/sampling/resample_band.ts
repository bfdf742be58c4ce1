/** Weights of spline interpolation along one axis, as the rows of a band matrix: computed in float64, used in f32. */

export type SplineOrder = 0 | 1 | 3;

/** The interpolation; `transposed` is the adjoint, from outputSize back to inputSize. */
export interface BandAttrs {
  readonly order: SplineOrder;
  readonly inputSize: number;
  readonly outputSize: number;
  readonly transposed: boolean;
}

/** Outputs in groups of `rows`; each group is a linear combination of `span` neighbors. */
export interface Band {
  readonly rows: 1 | 4;
  readonly span: number;
  /** The first neighbor of each group. */
  readonly first: Int32Array<ArrayBuffer>;
  /** [groups, span, rows]. */
  readonly weights: Float32Array<ArrayBuffer>;
}

interface Row {
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * The cubic spline through samples (x_j) is sum_j x_j eta(s - j), where eta is the cubic B-spline filtered by sqrt(3)
 * z^|k| with z = sqrt(3) - 2 (Unser 1999, "Splines: a perfect fit for signal and image processing"). It decays by |z|
 * = 0.27 per sample; weights more than REACH samples away are below 1e-8 of the largest and dropped.
 */
const REACH = 14;
const POLE = Math.sqrt(3) - 2;

const cubic = (d: number): number => (d < 1 ? (4 - 6 * d * d + 3 * d ** 3) / 6 : d < 2 ? (2 - d) ** 3 / 6 : 0);

function cardinal(d: number): number {
  let sum = 0;
  const nearest = Math.round(d);
  for (let k = nearest - 2; k <= nearest + 2; k++) sum += cubic(Math.abs(d - k)) * Math.sqrt(3) * POLE ** Math.abs(k);
  return sum;
}

/** One row per output: half-pixel centers, edge samples extended indefinitely. */
function forwardRows({ order, inputSize: n, outputSize: m }: BandAttrs): Row[] {
  const taps = Math.min(n, order === 0 ? 1 : order === 1 ? 2 : 2 * REACH);
  return Array.from({ length: m }, (_, i) => {
    // This order of operations rounds halves as SciPy does.
    const place = (i + 0.5) * (n / m) - 0.5;
    const base = Math.floor(place + (order === 0 ? 0.5 : 0));
    const from = base - (order === 3 ? REACH - 1 : 0);
    const to = base + (order === 0 ? 0 : order === 1 ? 1 : REACH);
    const first = Math.min(n - taps, Math.max(0, from));
    const weights = new Float64Array(taps);
    let sum = 0;
    for (let j = from; j <= to; j++) {
      const weight = order === 0 ? 1 : order === 1 ? 1 - Math.abs(place - j) : cardinal(place - j);
      weights[Math.min(n - 1, Math.max(0, j)) - first] += weight;
      sum += weight;
    }
    return { first, weights: weights.map((w) => w / sum) };
  });
}

function transposedRows(rows: readonly Row[], n: number): Row[] {
  const columns: number[][] = Array.from({ length: n }, () => []);
  const firsts = new Int32Array(n).fill(-1);
  rows.forEach(({ first, weights }, i) =>
    weights.forEach((w, k) => {
      const column = columns[first + k];
      if (firsts[first + k] < 0) firsts[first + k] = i;
      // First neighbors are nondecreasing, so the rows of a column are contiguous except where samples are skipped.
      while (firsts[first + k] + column.length < i) column.push(0);
      column.push(w);
    })
  );
  return columns.map((column, j) => ({ first: Math.max(0, firsts[j]), weights: Float64Array.from(column) }));
}

/** The band matrix of an interpolation; rows are grouped by four if their neighbors mostly coincide, to share loads. */
export function bandOf(attrs: BandAttrs): Band {
  const forward = forwardRows(attrs);
  const rows = attrs.transposed ? transposedRows(forward, attrs.inputSize) : forward;
  const length = attrs.transposed ? attrs.outputSize : attrs.inputSize;
  const widest = Math.max(1, ...rows.map((row) => row.weights.length));
  const span = (count: number): number => {
    let most = 1;
    for (let i = 0; i < rows.length; i += count) {
      const group = rows.slice(i, i + count).filter((row) => row.weights.length > 0);
      const low = Math.min(...group.map((row) => row.first));
      most = Math.max(most, ...group.map((row) => row.first + row.weights.length - low));
    }
    return most;
  };
  const four = rows.length >= 4 && attrs.order !== 0 ? span(4) : Infinity;
  const count = four < 4 * widest ? 4 : 1;
  const width = count === 4 ? four : widest;
  const groups = Math.ceil(rows.length / count);
  const band = new Float32Array(groups * width * count);
  const first = new Int32Array(groups);
  for (let g = 0; g < groups; g++) {
    const group = rows.slice(g * count, (g + 1) * count);
    const low = Math.min(length, ...group.filter((row) => row.weights.length > 0).map((row) => row.first));
    first[g] = Math.max(0, Math.min(low, length - width));
    group.forEach((row, r) =>
      row.weights.forEach((w, k) => (band[(g * width + row.first + k - first[g]) * count + r] = w))
    );
  }
  return { rows: count, span: width, first, weights: band };
}
