/** Converts grid coordinates, -1 to 1 across the image, to positions along an axis in voxels. */
import { bitsOf, call, type Expr, infix, joined, prefix, select, u32 } from "../../core/expr.ts";
import type { Emit, Op } from "../../core/op.ts";
import { node, type Tensor } from "../../core/tensor.ts";
import { f32 } from "../elementwise/constant.ts";
import { mul } from "../elementwise/elementwise.ts";
import { stopGradient } from "../shape/reshape.ts";

export type Mode = "linear" | "nearest" | "cubic";
export type Padding = "zeros" | "border" | "reflection";

/** Conversion of a coordinate in [-1, 1] to a position along an axis of `size` voxels. */
export interface PlaceAttrs {
  readonly size: number;
  readonly mode: Mode;
  readonly padding: Padding;
  readonly alignCorners: boolean;
}

/** How far outside the image positions still matter; positions farther out are clamped to one voxel beyond. */
const margin = { nearest: 1, linear: 1, cubic: 2 } as const;

/** The position of a coordinate, or its derivative. Non-finite values are detected by their bits. */
function emitPlace(e: Emit<PlaceAttrs>, coordinate: Expr, slope: boolean): Expr {
  const { size: n, mode, padding, alignCorners } = e.attrs;
  const raised = infix(coordinate, "+", f32(1));
  const raw = alignCorners
    ? infix(raised, "*", f32((n - 1) / 2))
    : infix(infix(infix(raised, "*", f32(n)), "-", f32(1)), "*", f32(0.5));
  const c = e.bind(raw, "f32");
  const rate = f32(alignCorners ? (n - 1) / 2 : n / 2);
  const finite = e.bind(infix(infix(bitsOf(c), "&", u32(0x7f800000)), "!=", u32(0x7f800000)), "bool");
  if (padding === "zeros") {
    const m = margin[mode];
    const inside = e.bind(
      joined("&", [finite, infix(c, ">=", f32(-m)), infix(c, "<", f32(n + m - 1))]),
      "bool",
    );
    return slope ? select(f32(0), rate, inside) : select(f32(-m - 1), c, inside);
  }
  const [low, high] = mode === "cubic" ? [-1, n] : [0, n - 1];
  if (padding === "border") {
    if (slope) return select(f32(0), rate, joined("&", [finite, infix(c, ">", f32(low)), infix(c, "<", f32(high))]));
    const nan = e.bind(infix(infix(bitsOf(c), "&", u32(0x7fffffff)), ">", u32(0x7f800000)), "bool");
    return select(call("clamp", c, f32(low), f32(high)), f32(low), nan);
  }
  // Reflects at the centers of the end voxels, or at the edges of the image.
  const [edge, span] = alignCorners ? [0, n - 1] : [-0.5, n];
  if (span === 0) return f32(0);
  const [first, last] = mode === "cubic" ? [edge, edge + span] : [0, n - 1];
  const away = e.bind(call("abs", infix(c, "-", f32(edge))), "f32");
  const turns = e.bind(call("floor", infix(away, "/", f32(span))), "f32");
  const rest = e.bind(infix(away, "-", infix(turns, "*", f32(span))), "f32");
  const halves = infix(call("floor", infix(turns, "*", f32(0.5))), "*", f32(2));
  const odd = e.bind(infix(halves, "!=", turns), "bool");
  const folded = e.bind(infix(select(rest, infix(f32(span), "-", rest), odd), "+", f32(edge)), "f32");
  if (!slope) return select(f32(first), call("clamp", folded, f32(first), f32(last)), finite);
  const sign = select(rate, prefix("-", rate), infix(infix(c, "<", f32(edge)), "!=", odd));
  const moves = mode === "cubic"
    ? finite
    : joined("&", [finite, infix(folded, ">", f32(first)), infix(folded, "<", f32(last))]);
  return select(f32(0), sign, moves);
}

const placeOp = (slope: boolean): Op<PlaceAttrs> => ({
  name: slope ? "gridSlope" : "gridPlace",
  lowering: {
    kind: "map",
    cost: 4,
    elementwise: true,
    emit(e, index) {
      const place = emitPlace(e, e.input(0, index), slope);
      return e.bind(e.attrs.mode === "nearest" && !slope ? call("round", place) : place, "f32");
    },
  },
  // Piecewise linear: dx = g s with a slope s that is constant but for jumps
  vjp: slope ? () => [null] : (c, g) => [mul(g, slopeOf(c.inputs[0], c.attrs))],
  jvp: slope ? null : (c, [t]) => mul(t!, slopeOf(c.inputs[0], c.attrs)),
  batch: (c) => node(slope ? slopeAtOp : placeAtOp, [c.inputs[0]], c.attrs, c.inputs[0].shape, "f32"),
});
const placeAtOp = placeOp(false);
const slopeAtOp = placeOp(true);
/** Positions of coordinates x; rounded to integers for mode "nearest". */
export const placeOf = (x: Tensor, a: PlaceAttrs): Tensor => node(placeAtOp, [x], a, x.shape, "f32");
const slopeOf = (x: Tensor, a: PlaceAttrs): Tensor => node(slopeAtOp, [stopGradient(x)], a, x.shape, "f32");
