/** cumsum: cumulative sums along an axis. */
import { check, checkOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { normalizeAxis, size } from "../../core/shape.ts";
import { checkTensor, node, type Tensor } from "../../core/tensor.ts";
import { lowerCumsum } from "../../../shaders/cumsum.wgsl.ts";
import { cast } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { inParts, partsFor } from "../split.ts";

interface CumsumAttrs {
  readonly axis: number;
  readonly reverse: boolean;
}

// y = L x with L lower triangular: the adjoint runs in the opposite direction.
const op: Op<CumsumAttrs> = {
  name: "cumsum",
  lowering: {
    kind: "kernel",
    lower([x], _, { axis, reverse }, target) {
      const [outer, inner] = [size(x.shape.slice(0, axis)), size(x.shape.slice(axis + 1))];
      const type = x.dtype as "f32" | "i32" | "u32";
      return lowerCumsum({ outer, length: x.shape[axis], inner, type, reverse }, target);
    },
  },
  vjp: (c, g) => [along(g, { ...c.attrs, reverse: !c.attrs.reverse })],
  jvp: (c, [t]) => along(t!, c.attrs),
  batch: (c) => along(c.inputs[0], { ...c.attrs, axis: c.attrs.axis + 1 }),
  split([x], _, attrs, most) {
    const others = x.shape.map((_, k) => k).filter((k) => k !== attrs.axis);
    const longest = others.reduce((a, b) => (x.shape[a] >= x.shape[b] ? a : b), others[0] ?? attrs.axis);
    check(longest !== attrs.axis, "cumsum", () => `a line of ${x.size} values, the adapter binds ${most} elements`);
    return inParts([x], longest, partsFor("cumsum", [x], x.shape[longest], most), ([part]) => along(part, attrs));
  },
};

const along = (x: Tensor, attrs: CumsumAttrs): Tensor => (x.size === 0 ? x : node(op, [x], attrs, x.shape, x.dtype));

/**
 * Inclusive cumulative sum along `axis` (default: the last), as torch.cumsum; bool sums as i32.
 *
 * @param options.reverse sum from each value to the end instead
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2, 3]).cumsum().array(); // [1, 3, 6]
 * ```
 */
export const cumsum: (x: Tensor, options?: { axis?: number; reverse?: boolean }) => Tensor = computeInF32(
  (x, options = {}) => {
    checkTensor("cumsum", x);
    checkOptions("cumsum", options, ["axis", "reverse"]);
    const { reverse = false } = options;
    check(typeof reverse === "boolean", "cumsum", () => `reverse is true or false, got ${show(reverse)}`);
    const axis = normalizeAxis("cumsum", options.axis ?? -1, x.rank);
    return along(x.dtype === "bool" ? cast(x, "i32") : x, { axis, reverse });
  },
  { kind: "sum" },
);
