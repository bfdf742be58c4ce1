/** Kernels along rows, and those of whole programs: reductions, moments, sorting, and what fuses with them. */
import * as vg from "../../../../engine/mod.ts";
import { type Tensor, tensor } from "../../../../engine/mod.ts";
import { lowerSort } from "../../../../shaders/index/sort.wgsl.ts";
import { lowerMoments } from "../../../../shaders/moments.wgsl.ts";
import { lowerPartialMoments } from "../../../../shaders/moments_parts.wgsl.ts";
import { matrixProducts, multiplyAdds, triad } from "../../../../shaders/roofs.wgsl.ts";
import { lowerSortCells } from "../../../../shaders/sampling/sort_cells.wgsl.ts";
import { lowerStore } from "../../../../shaders/store_slice.wgsl.ts";
import type { Dispatch, Target } from "../../../../shaders/types.ts";
import { near } from "../../compare.ts";
import { fused, kernels } from "../../limits_cases.ts";
import { noise } from "../../noise.ts";
import { assertSame, components, distances, filled, randomMask } from "../../reference/geometry.ts";
import { type Case, caseOf, type Numbers } from "../programs.ts";
import { cpu, gpu, matrices, narrow } from "./targets.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const floats = (bytes: Bytes): Float32Array => new Float32Array(bytes.buffer);

/** Mean and 1 / sqrt(variance) of rows. */
function momentsOf(x: Float32Array, rows: number): number[] {
  const length = x.length / rows;
  return Array.from({ length: rows }, (_, k) => {
    const row = Float64Array.from(x.subarray(k * length, (k + 1) * length));
    const mean = row.reduce((a, v) => a + v, 0) / length;
    return [mean, 1 / Math.sqrt(row.reduce((a, v) => a + (v - mean) ** 2, 0) / length)];
  }).flat();
}

function checkMoments(x: Float32Array, rows: number): Case["check"] {
  const wanted = momentsOf(x, rows);
  const column = (list: ArrayLike<number>, k: number): number[] =>
    Array.from({ length: rows }, (_, row) => list[2 * row + k]);
  return ([bytes]) => {
    for (const k of [0, 1]) near(column(floats(bytes), k), column(wanted, k), 3e-6, k ? "deviation" : "mean");
  };
}

function moments(): Case[] {
  const list: [number, number, Target][] = [
    [13, 100, gpu],
    [3, 1500, gpu],
    [3, 2500, gpu],
    [2, 1100, narrow],
    [5, 33, { ...gpu, maxWorkgroupSize: 32 }],
    [5, 33, cpu],
    [3, 5000, cpu],
  ];
  return list.map(([rows, length, target]) => {
    const x = noise(rows * length, rows).map((v) => v + 20);
    return {
      name: `moments of ${rows} rows of ${length}, workgroups of ${target.maxWorkgroupSize}${
        target.software ? ", CPU" : ""
      }`,
      lowered: lowerMoments({ rows, length, eps: 0 }, target),
      inputs: [x],
      outputs: [8 * rows],
      check: checkMoments(x, rows),
    };
  });
}

/** Moments of rows from those of parts. */
function partialMoments(): Case[] {
  const list: [number, number, number, Target][] = [[1000, 3, 7, narrow], [500, 4, 7, {
    ...gpu,
    maxWorkgroupSize: 16,
  }]];
  return list.map(([length, times, share, target]) => {
    const rows = 2;
    const x = noise(rows * times * length, 5).map((v) => v + 20);
    const parts: number[] = [];
    for (let from = 0; from < x.length; from += length) {
      for (let at = from; at < from + length; at += share) {
        const part = Float64Array.from(x.subarray(at, Math.min(at + share, from + length)));
        const mean = part.reduce((a, v) => a + v, 0) / part.length;
        parts.push(mean, part.reduce((a, v) => a + (v - mean) ** 2, 0));
      }
    }
    return {
      name: `moments of ${parts.length / 2} parts, workgroups of ${target.maxWorkgroupSize}`,
      lowered: lowerPartialMoments({ rows, length: times * length, eps: 0 }, { temp: 0, length, share }, target)!,
      inputs: [Float32Array.from(parts)],
      outputs: [8 * rows],
      check: checkMoments(x, rows),
    };
  });
}

/** Points sorted by cell, in order of index within a cell. */
function sorting(): Case[] {
  return [gpu, narrow, cpu].map((target) => {
    const [samples, points, voxels] = [2, 301, 37];
    const cells = Int32Array.from(noise(samples * points, 3), (v) => Math.floor(((v + 1) / 2) * 30));
    const cellOf = (i: number): number => Math.floor(i / points) * voxels + cells[i];
    const order = Array.from({ length: samples * points }, (_, k) => k).sort((a, b) => cellOf(a) - cellOf(b) || a - b);
    const starts = Array.from({ length: samples * voxels }, (_, cell) => order.findIndex((i) => cellOf(i) === cell));
    const counts = starts.map((_, cell) => order.filter((i) => cellOf(i) === cell).length);
    const begin = starts.map((start) => Math.max(0, start));
    return {
      name: `sorting by cells, workgroups of ${target.maxWorkgroupSize}${target.software ? ", CPU" : ""}`,
      lowered: lowerSortCells(samples, points, voxels, target),
      inputs: [cells],
      outputs: [4 * (samples * points + 2 * samples * voxels)],
      check: ([bytes]) =>
        assertSame(
          new Int32Array(bytes.buffer),
          [...order, ...begin, ...begin.map((at, cell) => (counts[cell] ? at + counts[cell] : 0))],
          "order, starts and ends",
        ),
    };
  });
}

/** The stable order of keys. */
function orders(): Case[] {
  return [narrow, cpu].map((target) => {
    const [lines, length] = [3, 401];
    const keys = Uint32Array.from(noise(lines * length, 6), (v) => Math.floor((v + 1) * 100));
    const wanted = Array.from({ length: lines }, (_, line) => {
      const own = keys.subarray(line * length, (line + 1) * length);
      return Array.from(own, (_, k) => k).sort((a, b) => own[a] - own[b] || a - b);
    });
    const [from, to] = [{ input: 0 }, { output: 0 }];
    const key = "fn key(bits: u32) -> u32 { return bits; }";
    return {
      name: `order of lines of ${length}${target.software ? ", CPU" : ""}`,
      lowered: lowerSort({ lines, length, bits: 8, key, from, to, name: "sort" }, target),
      inputs: [keys],
      outputs: [4 * keys.length],
      check: ([y]) => assertSame(new Uint32Array(y.buffer), wanted.flat(), "order"),
    };
  });
}

/** A case of one kernel with one output. */
const one = (
  name: string,
  dispatch: Dispatch,
  inputs: readonly Numbers[],
  wanted: readonly number[],
  widths: readonly number[] = [32],
): Case => ({
  name,
  lowered: { temps: [], dispatches: [dispatch] },
  inputs,
  outputs: [4 * wanted.length],
  widths,
  check: ([y]) => near(floats(y), wanted, 1e-6, name),
});

function roofs(): Case[] {
  const [a, b] = [noise(1032, 1), noise(1032, 2)];
  // s, then s m + b sixteen times.
  const sums = Array.from(
    { length: 128 },
    (_, i) => [i, i + 1].reduce((sum, v) => sum + v * 2 ** -16 + (1 - 2 ** -16), 0),
  );
  return [
    one("triad", triad(1032, 4, 2, gpu), [a, b], [...a].map((v, i) => v + 0.5 * b[i])),
    one("multiply-adds", multiplyAdds(128, 2, 1, gpu), [Float32Array.of(0.5, 0.5, 1)], sums),
  ];
}

/** Of matrices all of whose elements are equal. */
function matrixRoofs(): Case[] {
  return ([[8, 16, 16, 32], [8, 8, 8, 16]] as const).map(([M, N, K, lanes]) => {
    const { subgroupMatrices } = matrices(M, N, K, lanes);
    const [chains, turns] = [3, 2];
    const each = (1 + 2 + 3) * 0.5 * 0.25 * K * 16 * turns;
    const wanted = new Array<number>(2 * 4 * M * N).fill(each);
    const dispatch = matrixProducts(subgroupMatrices![0], 2, chains, turns, lanes);
    return one(`products of matrices of ${M}x${N}x${K}`, dispatch, [Float32Array.of(0.5, 0.25, turns)], wanted, [
      lanes,
    ]);
  });
}

/** Slices stored in larger tensors. */
function stores(): Case[] {
  return ([["f32", gpu], ["f32", cpu], ["f16", gpu]] as const).map(([type, target]) => {
    const [count, length] = [301, 4];
    const values = Uint32Array.from(noise(count, 1), (v) => (1 + v) * 1e9);
    const given = type === "f16" ? Uint16Array.from(values, (v) => v & 0x3bff) : values;
    const bytes = given.BYTES_PER_ELEMENT;
    return {
      name: `a slice of ${type}${target.software ? ", CPU" : ""}`,
      lowered: lowerStore({ count, length, type }, target, null),
      inputs: [given, Int32Array.of(2)],
      outputs: [length * count * bytes],
      check([y]: readonly Bytes[]): void {
        const own = y.slice(2 * count * bytes, 3 * count * bytes);
        assertSame(type === "f16" ? new Uint16Array(own.buffer) : new Uint32Array(own.buffer), given, "the slice");
        assertSame(y.slice(0, 2 * count * bytes), new Array(2 * count * bytes).fill(255), "what is before");
      },
    };
  });
}

const t = (shape: number[], seed = 1): Tensor => tensor(noise(shape.reduce((a, b) => a * b, 1), seed), { shape });

/** The value of f and its gradients by every input. */
const withGradients = (f: (...xs: Tensor[]) => Tensor, ...xs: Tensor[]): Tensor[] => [
  f(...xs),
  ...vg.grad((list: Tensor[]) => f(...list).square().mul(0.3).sum())(xs),
];

/** Rows that are long and many enough for a workgroup each. */
const ROWS = [9, 1900];

function reductions(): Case[] {
  const x = t(ROWS);
  const sums = (seed: number): number[] =>
    Array.from(
      { length: 9 },
      (_, k) => noise(9 * 1900, seed).subarray(k * 1900, (k + 1) * 1900).reduce((a, v) => a + v, 0),
    );
  const whole = tensor(Int32Array.from(noise(9 * 1900, 4), (v) => Math.round(100 * v)), { shape: ROWS });
  const programs: Record<string, Tensor[]> = {
    "sums of two": [x.sum({ axes: [1] }), x.square().sum({ axes: [1] })],
    "a sum of a product, and what follows it": [x.mul(t(ROWS, 2)).sum({ axes: [1] }).mul(0.5).add(t([9], 3)).tanh()],
    "sums of integers": [whole.sum({ axes: [1] })],
    "layer norm": withGradients((v) => vg.layerNorm(v), x),
    softmax: withGradients((v) => vg.softmax(v), x),
    "largest of long rows": [x.max({ axes: [1] }), x.argmax({ axis: 1 }), x.min()],
  };
  return Object.entries(programs).flatMap(([name, results]) =>
    [narrow, { ...gpu, maxWorkgroupSize: 128 }].map((target) => {
      const made = caseOf(`${name}, workgroups of ${target.maxWorkgroupSize}`, results, target);
      const check: Case["check"] = ([y]) => near(floats(y), sums(1), 1e-5, name);
      return name === "sums of two" ? { ...made, check } : made;
    })
  );
}

/** Steps of networks, whose norms take moments that convolutions leave, in f32 and with f16 in memory. */
function networks(): Case[] {
  const step = (x: Tensor, w: Tensor, scale: Tensor): Tensor =>
    vg.groupNorm(vg.conv3d(x, w, { padding: [0, 1, 1] }), { groups: 4, weight: scale }).leakyRelu();
  const f32 = withGradients(step, t([1, 6, 3, 6, 8]), t([12, 6, 1, 3, 3], 2), t([12], 3));
  const half = vg.conv3d(t([2, 9, 3, 4, 5]).cast("f16"), t([12, 9, 1, 1, 1], 2).cast("f16"));
  const normed = [half, vg.instanceNorm(half.cast("f32"))];
  return [caseOf("convolution, norm and activation", f32, gpu), caseOf("convolution of f16 and a norm", normed, gpu)];
}

function masks(): Case[] {
  const size = [5, 9, 11] as const;
  const mask = randomMask(5 * 9 * 11, 0.6, 7);
  const given = tensor(Int32Array.from(mask), { shape: [...size] }).cast("bool");
  const wanted = [distances(mask, size, [2, 1, 3]), components(mask, size, 3), filled(mask, size, 3)];
  const large = randomMask(24 * 24 * 30, 0.3, 8);
  const many = tensor(Int32Array.from(large), { shape: [24, 24, 30] }).cast("bool");
  return [gpu, cpu].flatMap((target) => [
    {
      ...caseOf(
        `distances, components and holes${target.software ? ", CPU" : ""}`,
        [
          vg.distanceTransform(given, { spacing: [2, 1, 3] }),
          vg.connectedComponents(given, { connectivity: 26 }),
          vg.fillHoles(given),
        ],
        target,
      ),
      check([distance, labels, holes]: readonly Bytes[]): void {
        near(floats(distance), wanted[0], 1e-6, "distances");
        assertSame(new Int32Array(labels.buffer), wanted[1], "components");
        assertSame(new Uint32Array(holes.buffer), wanted[2], "holes");
      },
    },
    {
      ...caseOf(`components by three counts${target.software ? ", CPU" : ""}`, [vg.connectedComponents(many)], target),
      check: ([labels]: readonly Bytes[]) =>
        assertSame(new Int32Array(labels.buffer), components(large, [24, 24, 30], 1), "components"),
    },
  ]);
}

/** Every operator, at a few thousand elements. */
function operators(): Case[] {
  const labels = tensor(Int32Array.from(noise(400, 1), (v) => Math.round(v + 1)), { shape: [5, 8, 10] });
  const more = {
    cumsum: () => [vg.cumsum(t([3, 200, 2]), { axis: 1 }), vg.cumsum(t([9, 7]), { axis: 0, reverse: true })],
    "labels resampled": () => [vg.resampleLabels(labels, { size: [7, 5, 13], order: 1 })],
    "short softmax": () => withGradients((x) => vg.logSoftmax(x, { axis: 1 }), t([3, 5, 21])),
  };
  return Object.entries({ ...fused, ...kernels, ...more }).flatMap(([name, f]) =>
    [gpu, cpu].map((target) => caseOf(`${name}${target.software ? ", CPU" : ""}`, f(), target))
  );
}

/** Cases by what makes the kernels. */
export const rowCases = (): Record<string, readonly Case[]> => ({
  "lowerMoments()": moments(),
  "lowerPartialMoments()": partialMoments(),
  "lowerSort()": orders(),
  "lowerSortCells()": sorting(),
  "matrixProducts()": matrixRoofs(),
  "reduceKernels()": reductions(),
  "emitKernel() of steps of networks": networks(),
});

/** Kernels without memory that invocations of a workgroup share, or at sizes that do not need it. */
export const otherCases = (): Record<string, readonly Case[]> => ({
  "triad() and multiplyAdds()": roofs(),
  "lowerStore()": stores(),
  "lowerDistanceTransform(), lowerComponents() and lowerFillHoles()": masks(),
  "schedule() of every operator": operators(),
});
