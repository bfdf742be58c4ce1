/** pad: with a constant, or with values of the tensor itself. */
import { fits } from "../../core/dtype.ts";
import { check, checkOptions, show } from "../../core/errors.ts";
import { perAxis } from "../../core/shape.ts";
import { checkTensor, type Tensor } from "../../core/tensor.ts";
import { broadcastTo } from "./broadcast_to.ts";
import { concat } from "./concat.ts";
import { flip, slice } from "./slice.ts";
import { dilatedPad } from "./slice_ops.ts";

export interface PadOptions {
  /** Values at the start of each axis: one number, or one per axis; default: 0. */
  before?: number | readonly number[];
  /** At the end. */
  after?: number | readonly number[];
  /**
   * "constant" (default); "reflect": mirrored without the edge; "replicate": the edge value; "circular": from the other
   * end. As torch.nn.functional.pad.
   */
  mode?: "constant" | "reflect" | "replicate" | "circular";
  /** The constant; default: 0. */
  value?: number;
}

const MODES = ["constant", "reflect", "replicate", "circular"];

/**
 * Pads x with `before` and `after` values at the ends of each axis.
 *
 * @throws VoxgradError for more values than mode "reflect" (size - 1) or "circular" (size) can take from an axis
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * await tensor([1, 2]).pad({ before: 1, after: 2, value: -1 }).array(); // [-1, 1, 2, -1, -1]
 * await tensor([1, 2, 3]).pad({ before: 2, mode: "reflect" }).array(); // [3, 2, 1, 2, 3]
 * ```
 */
export function pad(x: Tensor, options: PadOptions): Tensor {
  checkTensor("pad", x);
  checkOptions("pad", options, ["before", "after", "mode", "value"]);
  const before = perAxis("pad", "before", options.before ?? 0, x.rank, 0);
  const after = perAxis("pad", "after", options.after ?? 0, x.rank, 0);
  const { mode = "constant", value = 0 } = options;
  check(MODES.includes(mode), "pad", () => `mode is one of ${MODES.join(", ")}, got ${show(mode)}`);
  check(typeof value === "number", "pad", () => `value is a number, got ${show(value)}`);
  check(fits(value, x.dtype), "pad", () => `value ${value} does not fit dtype ${x.dtype}`);
  if (mode === "constant") return dilatedPad(x, { before, after, interior: x.shape.map(() => 0), value });
  check(options.value === undefined, "pad", () => `value is for mode "constant", got mode ${show(mode)}`);
  return x.shape.reduce((y, n, axis) => {
    const [front, back] = [before[axis], after[axis]];
    if (front === 0 && back === 0) return y;
    const most = mode === "reflect" ? n - 1 : mode === "circular" ? n : n > 0 ? Infinity : 0;
    check(
      front <= most && back <= most,
      "pad",
      () =>
        `mode "${mode}" pads axis ${axis} of ${show(x.shape)} by at most ${
          Math.max(0, most)
        }, got ${front} and ${back}`,
    );
    return concat([...end(y, axis, mode, front, "front"), y, ...end(y, axis, mode, back, "back")], { axis });
  }, x);
}

/** The values at one end of an axis. */
function end(x: Tensor, axis: number, mode: string, count: number, side: "front" | "back"): Tensor[] {
  if (count === 0) return [];
  const n = x.shape[axis];
  const part = (start: number, stop: number): Tensor =>
    slice(x, {
      start: x.shape.map((_, k) => (k === axis ? start : 0)),
      end: x.shape.map((m, k) => (k === axis ? stop : m)),
    });
  const front = side === "front";
  if (mode === "circular") return [front ? part(n - count, n) : part(0, count)];
  if (mode === "reflect") return [flip(front ? part(1, count + 1) : part(n - 1 - count, n - 1), { axes: [axis] })];
  const edge = front ? part(0, 1) : part(n - 1, n);
  return [broadcastTo(edge, { shape: x.shape.map((m, k) => (k === axis ? count : m)) })];
}
