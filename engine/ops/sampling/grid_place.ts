/** Coordinates of a grid, -1 to 1 across the image, as places among the voxels of an axis. */
import type { Emit, Op } from "../../core/op.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { mul } from "../elementwise/elementwise.ts";
import { stopGradient } from "../shape/reshape.ts";

export type Mode = "linear" | "nearest" | "cubic";
export type Padding = "zeros" | "border" | "reflection";

/** How a coordinate in [-1, 1] becomes a place among the `size` voxels of an axis. */
export interface PlaceAttrs {
  readonly size: number;
  readonly mode: Mode;
  readonly padding: Padding;
  readonly alignCorners: boolean;
}

/** How far from the image places still matter; one voxel further is the place that stands for all beyond. */
const margin = { nearest: 1, linear: 1, cubic: 2 } as const;

/** WGSL for the place, or for its derivative by the coordinate. Bit patterns tell what is not finite. */
function emitPlace(e: Emit<PlaceAttrs>, coordinate: string, slope: boolean): string {
  const { size: n, mode, padding, alignCorners } = e.attrs;
  const f = (x: number): string => (Number.isInteger(x) ? `${x}.0` : `${x}`);
  const raw = alignCorners
    ? `(${coordinate} + 1.0) * ${f((n - 1) / 2)}`
    : `((${coordinate} + 1.0) * ${f(n)} - 1.0) * 0.5`;
  const c = e.bind(raw, "f32");
  const rate = f(alignCorners ? (n - 1) / 2 : n / 2);
  const finite = e.bind(`(bitcast<u32>(${c}) & 0x7f800000u) != 0x7f800000u`, "bool");
  if (padding === "zeros") {
    const m = margin[mode];
    const inside = e.bind(`${finite} & (${c} >= ${f(-m)}) & (${c} < ${f(n + m - 1)})`, "bool");
    return slope ? `select(0.0, ${rate}, ${inside})` : `select(${f(-m - 1)}, ${c}, ${inside})`;
  }
  if (padding === "border") {
    const [low, high] = mode === "cubic" ? [-1, n] : [0, n - 1];
    const nan = e.bind(`(bitcast<u32>(${c}) & 0x7fffffffu) > 0x7f800000u`, "bool");
    if (slope) return `select(0.0, ${rate}, ${finite} & (${c} > ${f(low)}) & (${c} < ${f(high)}))`;
    return `select(clamp(${c}, ${f(low)}, ${f(high)}), ${f(low)}, ${nan})`;
  }
  // Mirrors at the centers of the end voxels, or at the edges of the image.
  const [edge, span] = alignCorners ? [0, n - 1] : [-0.5, n];
  if (span === 0) return "0.0";
  const [low, high] = mode === "cubic" ? [edge, edge + span] : [0, n - 1];
  const away = e.bind(`abs(${c} - ${f(edge)})`, "f32");
  const turns = e.bind(`floor(${away} / ${f(span)})`, "f32");
  const rest = e.bind(`${away} - ${turns} * ${f(span)}`, "f32");
  const odd = e.bind(`floor(${turns} * 0.5) * 2.0 != ${turns}`, "bool");
  const folded = e.bind(`select(${rest}, ${f(span)} - ${rest}, ${odd}) + ${f(edge)}`, "f32");
  if (!slope) return `select(${f(low)}, clamp(${folded}, ${f(low)}, ${f(high)}), ${finite})`;
  const sign = `select(${rate}, -${rate}, (${c} < ${f(edge)}) != ${odd})`;
  const moves = mode === "cubic" ? finite : `${finite} & (${folded} > ${f(low)}) & (${folded} < ${f(high)})`;
  return `select(0.0, ${sign}, ${moves})`;
}

const placeOp = (slope: boolean): Op<PlaceAttrs> => ({
  name: slope ? "gridSlope" : "gridPlace",
  lowering: {
    kind: "map",
    cost: 4,
    emit(e, index) {
      const place = emitPlace(e, e.input(0, index), slope);
      return e.bind(e.attrs.mode === "nearest" && !slope ? `round(${place})` : place, "f32");
    },
  },
  // Piecewise linear: dx = g s with a slope s that is constant but for jumps
  vjp: slope ? () => [null] : (c, g) => [mul(g, slopeOf(c.inputs[0], c.attrs))],
  jvp: slope ? null : (c, [t]) => mul(t!, slopeOf(c.inputs[0], c.attrs)),
  batch: (c) => node(slope ? slopeAtOp : placeAtOp, [c.inputs[0]], c.attrs, c.inputs[0].shape, "f32"),
});
const placeAtOp = placeOp(false);
const slopeAtOp = placeOp(true);
/** Places of coordinates x; whole ones for mode "nearest". */
export const placeOf = (x: Tensor, a: PlaceAttrs): Tensor => node(placeAtOp, [x], a, x.shape, "f32");
const slopeOf = (x: Tensor, a: PlaceAttrs): Tensor => node(slopeAtOp, [stopGradient(x)], a, x.shape, "f32");
