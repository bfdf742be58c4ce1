/** Shared code of operators on masks: kernels treat planes and volumes as batches of volumes. */
import type { DType } from "../../core/dtype.ts";
import { check, show } from "../../core/errors.ts";
import type { BatchContext, Op } from "../../core/op.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { reshape } from "../shape/reshape.ts";

/** Rejects anything but a mask: a tensor with 2 or 3 axes, bool, integer or f32. */
export function checkMask(name: string, mask: unknown): asserts mask is Tensor {
  check(
    mask instanceof Tensor && (mask.rank === 2 || mask.rank === 3),
    name,
    () =>
      `the mask is a tensor [H, W] or [D, H, W], got ${
        mask instanceof Tensor ? `${mask}; use vmap for a batch` : show(mask)
      }`,
  );
  check(
    ["bool", "i32", "u32", "f32"].includes(mask.dtype),
    name,
    () => `the mask is bool, i32, u32 or f32, got ${mask.dtype}; cast it`,
  );
}

/** Applies `op` to a mask as [1, D, H, W], D being 1 for a plane; the result has the mask's shape. */
export function onVolumes(op: Op, mask: Tensor, attrs: unknown, dtype: DType): Tensor {
  const volume = [...new Array<number>(4 - mask.rank).fill(1), ...mask.shape];
  return reshape(node(op, [reshape(mask, { shape: volume })], attrs, volume, dtype), { shape: mask.shape });
}

/** Treats examples [B, n, D, H, W] as B n volumes. */
export function batchVolumes(op: Op): (c: BatchContext<unknown>) => Tensor {
  return ({ inputs, output, attrs }) => {
    const [mask] = inputs as readonly [Tensor];
    const [b, n, ...volume] = mask.shape as readonly [number, number, ...number[]];
    const flat = reshape(mask, { shape: [b * n, ...volume] });
    return reshape(node(op, [flat], attrs, flat.shape, output.dtype), { shape: mask.shape });
  };
}
