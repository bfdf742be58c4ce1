/**
 * Weighted sums of voxels around points, closed under differentiation.
 *
 * A point reads taps^dims voxels of the padded image, starting at its cell. With weights w[k, p] of tap k, the value,
 * image gradient and weight gradient are the three derivatives of sum over c, k, p of g[c, p] w[k, p] x[c, cell[p] +
 * k], so each rule is composed of the others. Elementwise operators compute the weights from the points.
 */
import { fail } from "../../core/errors.ts";
import { call, infix, u32 } from "../../core/expr.ts";
import type { BatchContext, Op } from "../../core/op.ts";
import { size } from "../../core/shape.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { lowerSumCells } from "../../../shaders/sampling/grid_sample.wgsl.ts";
import { lowerSortCells } from "../../../shaders/sampling/sort_cells.wgsl.ts";
import { add, mul } from "../elementwise/elementwise.ts";
import { inParts, partsFor } from "../split.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";

type Triple = readonly [number, number, number];

/** Sizes of the padded image x [N, C, voxels], and taps along each axis; cells are [N, P], weights [N, K, P]. */
export interface Taps {
  readonly space: Triple;
  readonly taps: Triple;
}

/** Folds the examples of a batch into samples. */
const asSamples = (f: (inputs: readonly Tensor[], attrs: Taps) => Tensor) => (c: BatchContext<Taps>): Tensor => {
  const inputs = c.inputs.map((_, k) => {
    const [examples, samples, ...rest] = c.full(k).shape as [number, number, ...number[]];
    return reshape(c.full(k), { shape: [examples * samples, ...rest] });
  });
  return reshape(f(inputs, c.attrs), { shape: [c.size, ...c.output.shape] });
};

/** Product rule: the sum of the tangents of both factors. */
function bilinear(parts: readonly (Tensor | null)[]): Tensor {
  return parts.filter((t): t is Tensor => t !== null).reduce((a, b) => add(a, b));
}

// x[n, c, cell[n, p] + k] as [N, C, K, P]
const readOp: Op<Taps> = {
  name: "gridRead",
  lowering: {
    kind: "map",
    cost: 4,
    emit(e, index) {
      const { space, taps } = e.attrs;
      const k = index.part(2, 2);
      const tx = infix(k, "%", u32(taps[2]));
      const ty = infix(infix(k, "/", u32(taps[2])), "%", u32(taps[1]));
      const tz = infix(k, "/", u32(taps[2] * taps[1]));
      const row = infix(infix(tz, "*", u32(space[1])), "+", ty);
      const step = e.bind(infix(infix(row, "*", u32(space[2])), "+", tx), "u32");
      const cell = e.input(1, index.unbroadcast(e.inputs[1].shape));
      return e.input(0, index.replace(e.inputs[0].shape, 2, 2, e.bind(infix(call("u32", cell), "+", step), "u32")));
    },
  },
  vjp: null,
};

/** The voxels around every point, [N, C, K, P]. */
function around(x: Tensor, cell: Tensor, a: Taps): Tensor {
  const [n, points] = cell.shape as [number, number];
  const spread = reshape(cell, { shape: [n, 1, 1, points] });
  return node(readOp, [x, spread], a, [n, x.shape[1], size(a.taps), points], "f32");
}

// y[n, c, p] = sum over k of w[n, k, p] x[n, c, cell[n, p] + k]; dx = scatter(g, w), dw = dot(x, g)
const gatherOp: Op<Taps> = {
  name: "gridSample",
  lowering: {
    kind: "composite",
    expand([x, cell, w], a) {
      const [n, k, p] = w.shape as [number, number, number];
      return sum(mul(around(x, cell, a), reshape(w, { shape: [n, 1, k, p] })), { axes: [2] });
    },
  },
  vjp: ({ inputs: [x, cell, w], attrs: a }, g) => [scatter(g, cell, w, a), null, dot(x, cell, g, a)],
  jvp: ({ inputs: [x, cell, w], attrs: a }, [tx, , tw]) =>
    bilinear([tx ? gather(tx, cell, w, a) : null, tw ? gather(x, cell, tw, a) : null]),
  batch: asSamples(([x, cell, w], a) => gather(x, cell, w, a)),
};

// dx[n, c, v] = sum over k, p with cell[n, p] + k = v of w[n, k, p] g[n, c, p]; dg = gather(t, w), dw = dot(t, g)
const scatterOp: Op<Taps> = {
  name: "gridSampleGrad",
  lowering: {
    kind: "composite",
    expand([g, cell, w], a) {
      const [n, c, points] = g.shape as [number, number, number];
      const sorted = node(sortOp, [cell], { voxels: size(a.space) }, [n * (points + 2 * size(a.space))], "i32");
      return node(sumCellsOp, [g, w, cell, sorted], a, [n, c, size(a.space)], "f32");
    },
  },
  vjp: ({ inputs: [g, cell, w], attrs: a }, t) => [gather(t, cell, w, a), null, dot(t, cell, g, a)],
  jvp: ({ inputs: [g, cell, w], attrs: a }, [tg, , tw]) =>
    bilinear([tg ? scatter(tg, cell, w, a) : null, tw ? scatter(g, cell, tw, a) : null]),
  batch: asSamples(([g, cell, w], a) => scatter(g, cell, w, a)),
};

// dw[n, k, p] = sum over c of x[n, c, cell[n, p] + k] g[n, c, p]; dx = scatter(g, t), dg = gather(x, t)
const dotOp: Op<Taps> = {
  name: "gridSampleWeightGrad",
  lowering: {
    kind: "composite",
    expand([x, cell, g], a) {
      const [n, c, p] = g.shape as [number, number, number];
      return sum(mul(around(x, cell, a), reshape(g, { shape: [n, c, 1, p] })), { axes: [1] });
    },
  },
  vjp: ({ inputs: [x, cell, g], attrs: a }, t) => [scatter(g, cell, t, a), null, gather(x, cell, t, a)],
  jvp: ({ inputs: [x, cell, g], attrs: a }, [tx, , tg]) =>
    bilinear([tx ? dot(tx, cell, g, a) : null, tg ? dot(x, cell, tg, a) : null]),
  batch: asSamples(([x, cell, g], a) => dot(x, cell, g, a)),
};

/** Values [N, C, P] at points: the weighted taps of padded images x [N, C, voxels]. */
export const gather = (x: Tensor, cell: Tensor, w: Tensor, a: Taps): Tensor =>
  node(gatherOp, [x, cell, w], a, [x.shape[0], x.shape[1], cell.shape[1]], "f32");
/** The adjoint of gather: accumulates the points into the voxels, [N, C, voxels], in a fixed order. */
export const scatter = (g: Tensor, cell: Tensor, w: Tensor, a: Taps): Tensor =>
  node(scatterOp, [g, cell, w], a, [g.shape[0], g.shape[1], size(a.space)], "f32");
const dot = (x: Tensor, cell: Tensor, g: Tensor, a: Taps): Tensor =>
  node(dotOp, [x, cell, g], a, [g.shape[0], size(a.taps), g.shape[2]], "f32");

/** Points sorted by cell; not differentiable, and shared by all scatters over one grid. */
const sortOp: Op<{ voxels: number }> = {
  name: "gridSort",
  lowering: {
    kind: "kernel",
    lower: ([cell], _, { voxels }, target) => lowerSortCells(cell.shape[0], cell.shape[1], voxels, target),
  },
  vjp: null,
};

const sumCellsOp: Op<Taps> = {
  name: "gridSampleGrad",
  lowering: {
    kind: "kernel",
    lower([g], _, { space, taps }, target) {
      const [samples, channels, points] = g.shape as [number, number, number];
      return lowerSumCells({ samples, channels, points, space, taps }, target);
    },
  },
  vjp: null,
  // Split by channels, which are independent; the shared inputs are not split.
  split([g, ...shared], output, a, most) {
    const [n, channels] = g.shape as [number, number, number];
    const large = shared.find((t) => t.size > most);
    if (large) {
      fail(
        "gridSample",
        `its gradient needs ${large} in one piece, the adapter binds ${most} elements; use fewer points`,
      );
    }
    const count = partsFor("gridSample", [g, { size: size(output.shape) }], channels, most);
    return inParts(
      [g],
      1,
      count,
      ([part]) => node(sumCellsOp, [part, ...shared], a, [n, part.shape[1], output.shape[2]], "f32"),
    );
  },
};
