/** matmul: matrix products and batched matrix products. */
import { arithmetic, isFloat, promote } from "../../core/dtype.ts";
import { check, refuseOptions, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { broadcastShapes, checkShape, size } from "../../core/shape.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { lowerMatmul } from "../../../shaders/matmul.wgsl.ts";
import { broadcastTo } from "../shape/broadcast_to.ts";
import { scalar } from "../elementwise/creation.ts";
import { add, cast, mul } from "../elementwise/elementwise.ts";
import { computeInF32 } from "../promote_f16.ts";
import { inParts, range, ranges } from "../split.ts";
import { sum } from "../reduce/reduce.ts";
import { expandDims, reshape } from "../shape/reshape.ts";

/** Which factors are stored transposed; never both, since no derivative needs it. */
interface ProductAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

export const PLAIN: ProductAttrs = { transposeA: false, transposeB: false };
export const LEFT: ProductAttrs = { transposeA: true, transposeB: false };
export const RIGHT: ProductAttrs = { transposeA: false, transposeB: true };

/** Number of rows, inner size and number of columns of a product of stored factors [batch, ., .]. */
function extents(a: readonly number[], b: readonly number[], { transposeA, transposeB }: ProductAttrs): number[] {
  const [rows, inner] = transposeA ? [a[2], a[1]] : [a[1], a[2]];
  return [rows, inner, transposeB ? b[1] : b[2]];
}

const op: Op<ProductAttrs> = {
  name: "matmul",
  lowering: {
    kind: "kernel",
    lower([a, b], _, attrs, target) {
      const [rows, inner, columns] = extents(a.shape, b.shape, attrs) as [number, number, number];
      return lowerMatmul({ batch: a.shape[0], rows, inner, columns, ...attrs }, target);
    },
  },
  // Y = A B: dA = G B', dB = A' G.  Y = A' B: dA = B G', dB = A G.  Y = A B': dA = G B, dB = G' A.
  vjp({ inputs: [a, b], attrs }, g) {
    if (attrs.transposeA) return [product(b, g, RIGHT), product(a, g, PLAIN)];
    if (attrs.transposeB) return [product(g, b, PLAIN), product(g, a, LEFT)];
    return [product(g, b, RIGHT), product(a, g, LEFT)];
  },
  jvp({ inputs: [a, b], attrs }, [ta, tb]) {
    const terms = [...(ta ? [product(ta, b, attrs)] : []), ...(tb ? [product(a, tb, attrs)] : [])];
    return terms.reduce((x, y) => add(x, y));
  },
  split([a, b], output, attrs, most) {
    const y = { size: size(output.shape) };
    const [left, right] = [attrs.transposeA ? 2 : 1, attrs.transposeB ? 1 : 2];
    const [batch, rows, columns] = output.shape as [number, number, number];
    // The smallest number of parts that fits; or n, to be split along another axis next.
    const parts = (tensors: readonly { size: number }[], n: number): number => {
      const each = Math.floor((most / Math.max(...tensors.map((t) => t.size))) * n);
      return each < 1 ? n : Math.ceil(n / each);
    };
    if (batch > 1) return inParts([a, b], 0, parts([a, b, y], batch), ([p, q]) => product(p, q, attrs));
    if (b.size > most && columns > 1) {
      return inParts([b], right, parts([b], columns), ([q]) => product(a, q, attrs), 2);
    }
    if ((a.size > most || y.size > most) && rows > 1) {
      return inParts([a], left, parts([a, y], rows), ([p]) => product(p, b, attrs), 1);
    }
    // A single row or column that is too long.
    const inner = a.shape[3 - left];
    return ranges(inner, parts([a, b], inner))
      .map(([start, end]) => product(range(a, 3 - left, start, end), range(b, 3 - right, start, end), attrs))
      .reduce((x, z) => add(x, z));
  },
  batch({ size: batch, output, attrs, full }) {
    const merge = (x: Tensor): Tensor => reshape(x, { shape: [batch * x.shape[1], ...x.shape.slice(2)] });
    return reshape(product(merge(full(0)), merge(full(1)), attrs), { shape: [batch, ...output.shape] });
  },
  multiplyAdds: ([a], { shape: [, , columns] }) => size(a.shape) * columns,
};

/** Product of stored f32 factors [batch, ., .] whose sizes match. */
export const product = (a: Tensor, b: Tensor, attrs: ProductAttrs): Tensor => {
  const [rows, , columns] = extents(a.shape, b.shape, attrs) as [number, number, number];
  return node(op, [a, b], attrs, [a.shape[0], rows, columns], "f32");
};

/**
 * Product over the last two axes with broadcast batch axes, as torch.matmul. A vector acts as a row on the left and a
 * column on the right, and its axis is removed.
 *
 * @param a f32 [..., n, k] or [k]
 * @param b f32 [..., k, m] or [k]
 * @returns [..., n, m]
 * @example
 * ```ts
 * import { matmul, tensor } from "voxgrad";
 *
 * const product = matmul(tensor([[1, 2]]), tensor([[3], [4]]));
 * await product.array(); // [[11]]
 * ```
 */
export const matmul: (a: Tensor, b: Tensor, ...rest: never[]) => Tensor = computeInF32(
  (a, b, ...rest) => {
    refuseOptions("matmul", rest);
    const whole = [a, b].every((x) => x instanceof Tensor && !isFloat(x.dtype));
    const dtype = whole ? arithmetic(promote(a.dtype, b.dtype)) : "f32";
    for (
      const [name, x] of [
        ["left", a],
        ["right", b],
      ] as const
    ) {
      check(
        x instanceof Tensor && (whole || x.dtype === "f32") && x.rank >= 1,
        "matmul",
        () =>
          `the ${name} factor is a tensor of rank >= 1, and both are f32 or both integers, got ${
            x instanceof Tensor ? `${x}` : show(x)
          }`,
      );
    }
    const left = a.rank === 1 ? reshape(a, { shape: [1, a.size] }) : a;
    const right = b.rank === 1 ? reshape(b, { shape: [b.size, 1] }) : b;
    const [n, k] = left.shape.slice(-2) as [number, number];
    const [inner, m] = right.shape.slice(-2) as [number, number];
    check(k === inner, "matmul", () => `inner sizes differ: ${k} of ${show(a.shape)} and ${inner} of ${show(b.shape)}`);
    const batch = broadcastShapes("matmul", left.shape.slice(0, -2), right.shape.slice(0, -2));
    const shape = [...batch, ...(a.rank === 1 ? [] : [n]), ...(b.rank === 1 ? [] : [m])];
    checkShape("matmul", shape);
    // An empty sum is 0.
    if (k === 0 || size(shape) === 0) return scalar(0, dtype, shape);
    if (whole) {
      const [rows, columns] = [expandDims(left, { axis: left.rank }), expandDims(right, { axis: right.rank - 2 })];
      const terms = mul(cast(rows, dtype), cast(columns, dtype));
      return reshape(sum(terms, { axes: [terms.rank - 2] }), { shape });
    }
    const flat = (x: Tensor, rows: number, columns: number): Tensor =>
      reshape(broadcastTo(x, { shape: [...batch, rows, columns] }), { shape: [size(batch), rows, columns] });
    return reshape(product(flat(left, n, k), flat(right, k, m), PLAIN), { shape });
  },
  { kind: "product" },
);
