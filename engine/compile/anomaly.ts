/** A check mode that finds where values stop being finite. */
import { isFloat } from "../core/dtype.ts";
import { check, show, VoxgradError } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import { cast, isFinite, logicalNot } from "../ops/elementwise.ts";
import { concat } from "../ops/concat.ts";
import { sum } from "../ops/reduce.ts";
import { reshape } from "../ops/reshape.ts";

let depth = 0;

/** Whether evaluations are to look at every operator's output. */
export const isChecking = (): boolean => depth > 0;

/**
 * Runs f and looks at the output of every operator that it evaluates, in the order in which they were called, gradients
 * among them; as torch.autograd.detect_anomaly. Compiled functions run uncompiled meanwhile, and all is slow.
 *
 * @throws VoxgradError that names the first operator with an output that is not finite
 * @example await detectAnomaly(() => step(params, images, labels));
 */
export async function detectAnomaly<T>(f: () => Promise<T>): Promise<T> {
  check(typeof f === "function", "detectAnomaly", () => `the argument is a function, got ${show(f)}`);
  depth++;
  try {
    return await f();
  } finally {
    depth--;
  }
}

/** Values to be looked at: of tensors given from outside and of operators that compute, in order of creation. */
function watched(outputs: readonly Tensor[]): Tensor[] {
  const seen = new Set<Tensor>();
  const stack = [...outputs];
  while (stack.length > 0) {
    const t = stack.pop()!;
    if (seen.has(t)) continue;
    seen.add(t);
    if (t.source.kind === "op") stack.push(...t.source.inputs);
  }
  const computes = (t: Tensor): boolean =>
    t.source.kind !== "op" || (t.source.inputs.length > 0 && t.source.op.lowering.kind !== "view");
  return [...seen].filter((t) => isFloat(t.dtype) && t.size > 0 && computes(t)).sort((a, b) => a.id - b.id);
}

/** Values that are looked at in one evaluation. */
const CHUNK = 64;

/** Throws for the first value that is not finite among all that `outputs` are made of. */
export async function checkFinite(
  outputs: readonly Tensor[],
  evaluate: (tensors: readonly Tensor[]) => Promise<void>,
): Promise<void> {
  const list = watched(outputs);
  for (let from = 0; from < list.length; from += CHUNK) {
    const chunk = list.slice(from, from + CHUNK);
    const counts = concat(
      chunk.map((t) => reshape(sum(cast(logicalNot(isFinite(t)), "i32")), { shape: [1] })),
      { axis: 0 },
    );
    // Evaluated tensors forget where they came from.
    const names = chunk.map(describe);
    await evaluate([counts, ...chunk]);
    const values = await counts.data();
    const k = values.findIndex((n) => n > 0);
    if (k >= 0) throw new VoxgradError(`${names[k]}: ${values[k]} of ${chunk[k]!.size} values are not finite`);
  }
}

function describe(t: Tensor): string {
  if (t.source.kind !== "op") return `an input tensor ${t}`;
  return `${t.source.op.name}, the output ${t} of ${t.source.inputs.join(", ")}`;
}
