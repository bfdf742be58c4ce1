/** A debug mode that locates the first non-finite value. */
import { userCall } from "../core/call_site.ts";
import { isFloat } from "../core/dtype.ts";
import { checkFlag, checkFunction, checkOptions, VoxgradError } from "../core/errors.ts";
import { ancestors, inputsOf, ruleUnderWay, type Tensor, watchNodes } from "../core/tensor.ts";
import { cast, isFinite, isNaN, logicalNot } from "../ops/elementwise/elementwise.ts";
import * as operators from "../ops/mod.ts";
import { concat } from "../ops/shape/concat.ts";
import { sum } from "../ops/reduce/reduce.ts";
import { reshape } from "../ops/shape/reshape.ts";
import { anomalyCheck, type Evaluate, setAnomalyCheck } from "./anomaly_check.ts";

/** Where a node was created, recorded while detectAnomaly runs. */
interface Origin {
  readonly stack: string | undefined;
  /** The forward call that this node is part of the derivative of: operator and inputs. */
  readonly forward: string | null;
}
const origins = new WeakMap<Tensor, Origin>();

function originOf(): Origin {
  const { stack } = new Error();
  const forward = ruleUnderWay();
  if (forward?.source.kind !== "op") return { stack, forward: null };
  const { op, inputs } = forward.source;
  const of = `${op.name} of ${inputs.join(", ")}`;
  // The call of the operator is more helpful than that of grad.
  const own = origins.get(forward);
  if (!own) return { stack, forward: of };
  const name = userCall(own.stack)?.callee;
  return { stack: own.stack, forward: !name || name === op.name ? of : `${name} (${of})` };
}

/** Gives exported functions their names, which V8 shows in stacks: wrapped ones have none of their own. */
function nameOperators(): void {
  for (const [name, f] of Object.entries({ ...operators, ...operators.random })) {
    if (typeof f === "function" && f.name !== name) Object.defineProperty(f, "name", { value: name });
  }
}

/** V8 keeps 10 frames by default, all of which may be inside the engine. */
const FRAMES = 60;

/**
 * Runs f and checks the output of every evaluated operator, in call order, gradients included, as
 * torch.autograd.detect_anomaly. Compiled functions run uncompiled meanwhile, so everything is slow.
 *
 * @param options.infinities whether to report infinities too; default: only NaN, since masked logits are -Infinity
 * @throws VoxgradError that names the first operator with such an output, and the line that called it
 * @example
 * ```ts
 * import { detectAnomaly, tensor } from "voxgrad";
 *
 * await detectAnomaly(async () => {
 *   await tensor([1, 2]).log().data(); // with a negative number among them this throws, naming log
 * });
 * ```
 */
export async function detectAnomaly<T>(f: () => Promise<T>, options: { infinities?: boolean } = {}): Promise<T> {
  checkFunction("detectAnomaly", "the argument", f);
  checkOptions("detectAnomaly", options, ["infinities"]);
  checkFlag("detectAnomaly", "infinities", options.infinities);
  const { infinities = false } = options;
  nameOperators();
  const before = anomalyCheck();
  const errors = Error as { stackTraceLimit?: number };
  const frames = errors.stackTraceLimit;
  setAnomalyCheck((outputs, evaluate) => checkAll(outputs, evaluate, infinities));
  errors.stackTraceLimit = FRAMES;
  watchNodes((made) => origins.set(made, originOf()));
  try {
    return await f();
  } finally {
    setAnomalyCheck(before);
    if (before === null) {
      watchNodes(null);
      if (frames === undefined) delete errors.stackTraceLimit;
      else errors.stackTraceLimit = frames;
    }
  }
}

/** The values to check: input tensors and the results of operators that compute, in order of creation. */
function watched(outputs: readonly Tensor[]): Tensor[] {
  const selects = ({ source }: Tensor): readonly Tensor[] | undefined =>
    source.kind === "op" ? source.op.outside?.(source.attrs) : undefined;
  const computes = (t: Tensor): boolean =>
    t.source.kind !== "op" || selects(t) !== undefined ||
    (t.source.inputs.length > 0 && t.source.op.lowering.kind !== "view");
  return ancestors(outputs, (t) => selects(t) ?? inputsOf(t)).filter((t) =>
    isFloat(t.dtype) && t.size > 0 && computes(t)
  );
}

/** Number of values checked per evaluation. */
const CHUNK = 64;

/** Throws for the first invalid value among all that `outputs` depend on. */
async function checkAll(outputs: readonly Tensor[], evaluate: Evaluate, infinities: boolean): Promise<void> {
  const list = watched(outputs);
  for (let from = 0; from < list.length; from += CHUNK) {
    const chunk = list.slice(from, from + CHUNK);
    // Described now because evaluation drops the history.
    const names = chunk.map(describe);
    const counts = concat(
      chunk.map((t) => reshape(sum(cast(infinities ? logicalNot(isFinite(t)) : isNaN(t), "i32")), { shape: [1] })),
      { axis: 0 },
    );
    await evaluate([counts, ...chunk]);
    const values = await counts.data();
    const k = values.findIndex((n) => n > 0);
    if (k < 0) continue;
    const what = infinities ? "not finite" : "NaN";
    throw new VoxgradError(`${names[k]}: ${values[k]} of ${chunk[k].size} values are ${what}`);
  }
}

function describe(t: Tensor): string {
  if (t.source.kind !== "op") return `an input tensor ${t}`;
  const { op, inputs } = t.source;
  const own = `${op.name}, the output ${t} of ${inputs.join(", ")}`;
  const origin = origins.get(t);
  const call = userCall(origin?.stack);
  const called = call ? `, called at ${call.place}` : "";
  if (origin?.forward) return `the derivative of ${origin.forward}${called || ", called by the function"} (${own})`;
  // What the user wrote may consist of several operators.
  return call?.callee && call.callee !== op.name ? `${call.callee}${called} (${own})` : `${own}${called}`;
}
