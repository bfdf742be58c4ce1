/** The program of a traced function. */
import { fail } from "../core/errors.ts";
import { type Mixed, withPrecision } from "../core/precision.ts";
import { type Print, printed } from "../ops/prints.ts";
import { ancestors, inputsOf, Tensor } from "../core/tensor.ts";
import { late } from "../ops/late.ts";
import { nextLossScale, scaleOf } from "../ops/elementwise/loss_scale.ts";
import { type Device, warn } from "../gpu/mod.ts";
import { lower } from "./graph/lower.ts";
import { Program } from "./program.ts";
import { type Trace, trace } from "./trace.ts";

export interface TracedProgram {
  readonly program: Program;
  /** Tensors from outside the function that it uses. */
  readonly captured: readonly Tensor[];
  readonly result: unknown;
  /** Whether the program takes a loss scale after its arguments and returns the next one after its results. */
  readonly scales: boolean;
  /** What is printed after each run, from the last outputs. */
  readonly prints: readonly Print[];
  /** Description of an outside tensor that the program computes. */
  readonly repeats: string | null;
  calls: number;
}

/** Maximum number of warnings about outside tensors that each call recomputes. */
const MAX_REPEAT_WARNINGS = 3;
let repeatWarnings = 0;

/** Warns once, at the second call, about outside tensors that each call recomputes. */
export function warnOfRepeats(traced: TracedProgram): void {
  if (++traced.calls !== 2 || traced.repeats === null || repeatWarnings++ >= MAX_REPEAT_WARNINGS) return;
  warn(
    `compile: each call recomputes ${traced.repeats} which the function uses from outside and which was never ` +
      "evaluated; " +
      "await evaluate(tensor) before the first call, or pass it as an argument",
  );
}

/** Tunes the kernels of a graph: run_tune.ts gives it, which pages that only segment leave out. */
export const tuneNew = late<
  (device: Device, outputs: readonly Tensor[], placeholders: readonly Tensor[]) => Promise<unknown>
>("--tune", "run the script by voxgrad run or voxgrad serve");

/** Builds the program of f for arguments like these; tunes its kernels first if the device was opened with tuning. */
export async function buildTraced(
  device: Device,
  f: (...args: unknown[]) => unknown,
  args: readonly unknown[],
  isStatic: (position: number) => boolean,
  donated: ReadonlySet<number>,
  mixed: boolean,
): Promise<TracedProgram> {
  if (mixed && !device.target.features.has("shader-f16")) {
    fail(
      "compile",
      'precision "mixed" needs the WebGPU feature shader-f16, which this adapter lacks; leave precision out, or ' +
        "look at npx voxgrad doctor for another adapter",
    );
  }
  const { placeholders, outputs, result, scales, prints, first } = traceIn(mixed, f, args, isStatic);
  if (device.tunes) await tuneNew.call(device, outputs, placeholders);
  const graph = lower(outputs, device.target, placeholders);
  const program = await Program.build(device, graph, { donated, keepsArena: true });
  const captured = graph.leaves.slice(placeholders.length);
  return {
    program,
    captured,
    result,
    scales,
    prints,
    repeats: repeatsOf(outputs, first),
    calls: 0,
  };
}

/**
 * Traces f in mixed precision or f32. With a loss scale, that is the last placeholder, and the next one follows the
 * results among the outputs; what is printed comes last.
 */
export function traceIn(
  mixed: boolean,
  f: (...args: unknown[]) => unknown,
  args: readonly unknown[],
  isStatic?: (position: number) => boolean,
): Trace & { readonly scales: boolean; readonly first: number } {
  const state = new Tensor([2], "f32", { kind: "placeholder" });
  const precision: Mixed | null = mixed ? { scale: scaleOf(state), depth: 0, finite: null } : null;
  const traced = trace("compile", (...given) => withPrecision(precision, () => f(...given)), args, isStatic);
  const finite = precision?.finite;
  return {
    placeholders: finite ? [...traced.placeholders, state] : traced.placeholders,
    outputs: [
      ...traced.outputs,
      ...(finite ? [nextLossScale(state, finite)] : []),
      ...printed(traced.prints),
    ],
    result: traced.result,
    prints: traced.prints,
    scales: Boolean(finite),
    // Tensors of the trace are newer.
    first: state.id,
  };
}

/** Describes the newest tensor older than the trace that the program computes; null if there is none. */
function repeatsOf(outputs: readonly Tensor[], first: number): string | null {
  const latest = ancestors(outputs).reverse().find((t) =>
    t.id < first && inputsOf(t).length > 0 && t.source.kind === "op" && t.source.op.lowering.kind !== "view"
  );
  return latest?.source.kind === "op" ? `${latest}, made by ${latest.source.op.name},` : null;
}
