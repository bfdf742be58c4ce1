/** Kernel times beside an adapter's roofline, as text. */

/** Roofline peaks of an adapter: rates that kernels can hardly exceed. */
export interface Roofs {
  /** Memory bandwidth, in 1e9 bytes per second. */
  readonly gigabytesPerSecond: number;
  /** Arithmetic in f32, in registers, in 1e9 floating-point operations per second. */
  readonly gigaflopsPerSecond: number;
  /** Products of f16 with sums in f32 by matrix units, alike; missing where WGSL does not reach such units. */
  readonly matrixGigaflopsPerSecond?: number;
}

/** What a dispatch costs at least. */
export interface DispatchCost {
  /** Total size of its bindings: its traffic if it accesses every element once. */
  readonly bytes: number;
  /** Floating-point operations; an elementwise operator counts one per element. */
  readonly flops: number;
  /** Whether these are products of f16, which matrix units can compute. */
  readonly matrix: boolean;
}

/** One kernel, summed over its dispatches. */
export interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  readonly milliseconds: number;
  readonly bytes: number;
  readonly flops: number;
  /** The different costs of its dispatches, with the number of each. */
  readonly costs: readonly (DispatchCost & { readonly dispatches: number })[];
}

/** Milliseconds of dispatches at the roofline, by the roof that bounds each: memory, f32, matrix units. */
export interface Floors {
  readonly memory: number;
  readonly arithmetic: number;
  readonly matrices: number;
  /** Of all: what a perfect schedule of these dispatches, one after another, would take. */
  readonly total: number;
}

/** The sum of max(bytes / bandwidth, operations / rate) of dispatches. */
export function floorsOf(
  costs: Iterable<DispatchCost & { readonly dispatches?: number }>,
  roofs: Roofs,
): Floors {
  const sums = { memory: 0, arithmetic: 0, matrices: 0 };
  for (const { bytes, flops, matrix, dispatches = 1 } of costs) {
    const { gigabytesPerSecond, gigaflopsPerSecond, matrixGigaflopsPerSecond } = roofs;
    const byMatrices = matrix && matrixGigaflopsPerSecond !== undefined;
    const moving = bytes / gigabytesPerSecond / 1e6;
    const computing = flops / (byMatrices ? matrixGigaflopsPerSecond : gigaflopsPerSecond) / 1e6;
    const bound = moving >= computing ? "memory" : byMatrices ? "matrices" : "arithmetic";
    sums[bound] += dispatches * Math.max(moving, computing);
  }
  return { ...sums, total: sums.memory + sums.arithmetic + sums.matrices };
}

/** The roofs as text. */
export const describeRoofs = (roofs: Roofs): string =>
  `${roofs.gigabytesPerSecond.toFixed(1)} GB/s (triad beyond the caches; what stays in caches may exceed it), ` +
  `${roofs.gigaflopsPerSecond.toFixed(1)} GFLOP/s (multiply-adds in registers)` +
  (roofs.matrixGigaflopsPerSecond === undefined
    ? ""
    : `, ${roofs.matrixGigaflopsPerSecond.toFixed(1)} GFLOP/s (products of f16 by subgroup matrices)`);

/**
 * A line per kernel: time, share, rates; with `roofs` the time at the nearer roof, its part of the actual time, and the
 * sum of these floors.
 *
 * @param most number of rows; the remaining kernels, which take least time, are summed in one line
 */
export function kernelTable(kernels: readonly KernelTime[], roofs?: Roofs, most = Infinity): string {
  const all = kernels.reduce((sum, k) => sum + k.milliseconds, 0);
  // Clocks of some adapters are coarse: a kernel may seem to take no time.
  const rate = (amount: number, ms: number): string => (ms > 0 ? (amount / ms / 1e6).toFixed(2) : "-");
  const percent = (part: number, ms: number): string => (ms > 0 ? `${((100 * part) / ms).toFixed(1)}%` : "-");
  const againstRoofs = (k: KernelTime): string[] => {
    if (!roofs) return [];
    if (k.costs.length === 0) return ["-", "-"];
    const { total } = floorsOf(k.costs, roofs);
    return [total.toFixed(3), percent(total, k.milliseconds)];
  };
  const rows = kernels
    .slice(0, most)
    .map((k) => [
      k.kernel,
      k.milliseconds.toFixed(3),
      percent(k.milliseconds, all),
      String(k.dispatches),
      (k.bytes / 1e6).toFixed(3),
      rate(k.bytes, k.milliseconds),
      (k.flops / 1e6).toFixed(3),
      rate(k.flops, k.milliseconds),
      ...againstRoofs(k),
    ]);
  const head = ["kernel", "ms", "share", "dispatches", "MB", "GB/s", "MFLOP", "GFLOP/s"];
  const lines = [roofs ? [...head, "floor ms", "of roof"] : head, ...rows];
  const widths = lines[0].map((_, c) => Math.max(...lines.map((line) => line[c].length)));
  const pad = (cell: string, c: number): string => (c === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[c]));
  const texts = lines.map((line) => line.map(pad).join("  "));
  const rest = kernels.slice(most);
  const left = rest.reduce((sum, k) => sum + k.milliseconds, 0);
  if (rest.length > 0) texts.push(`and ${rest.length} more with ${percent(left, all)} of the time`);
  if (roofs) texts.push(floorLine(kernels, roofs));
  return texts.join("\n");
}

function floorLine(kernels: readonly KernelTime[], roofs: Roofs): string {
  const all = kernels.reduce((sum, k) => sum + (k.costs.length > 0 ? k.milliseconds : 0), 0);
  const { total, memory, arithmetic, matrices } = floorsOf(kernels.flatMap(({ costs }) => costs), roofs);
  const share = all > 0 ? ` (${((100 * total) / all).toFixed(1)}%)` : "";
  return `Sum of floors: ${total.toFixed(3)} of ${all.toFixed(3)} ms in kernels${share}; ` +
    `bound by memory ${memory.toFixed(3)}, by f32 ${arithmetic.toFixed(3)}, by matrices ${matrices.toFixed(3)}`;
}
