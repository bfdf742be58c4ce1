/** compile: traces a function once per signature, then runs it as one program. */
import { check, checkFunction, checkOptions, fail, show } from "../core/errors.ts";
import { LruCache } from "../core/lru_cache.ts";
import { mixed as currentPrecision, withPrecision } from "../core/precision.ts";
import { addPrints, collectPrints, type Print, printed, say } from "../ops/prints.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor, whyGone } from "../core/tensor.ts";
import { callTraced, isTracing } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { initialLossScale, scaleOf } from "../ops/elementwise/loss_scale.ts";
import { tensor } from "../ops/elementwise/creation.ts";
import { alias } from "../ops/shape/reshape.ts";
import { allocateBuffer, type Device, device as openDevice, readBuffer, Storage } from "../gpu/mod.ts";
import { anomalyCheck } from "./anomaly_check.ts";
import { type ArgumentLeaf, positionsOf, signature, takeArguments, withLeaves } from "./call_arguments.ts";
import type { Compiled, CompileOptions, NumbersAreTensors, PassedArgs } from "./compile_options.ts";
import { evaluate, leafValue } from "./evaluate.ts";
import type { ProgramInfo } from "./program.ts";
import { isTraced } from "./trace.ts";
import { buildTraced, type TracedProgram, warnOfRepeats } from "./traced_program.ts";

/** Maximum number of cached programs per function. */
const CAPACITY = 64;

/**
 * Compiles f: traces it at the first call with arguments of given shapes, dtypes and structure, then replays it with
 * one submission per call. Arguments and results are trees. Number arguments are traced as f32 scalars, so that a
 * changing learning rate compiles once; inside f they are Tensors and must be declared so. Booleans, strings, and the
 * arguments listed in `static` are constants of the trace. f must be a pure function of its arguments.
 *
 * @param options.donate arguments whose memory the results may reuse, such as parameters and optimizer state; do not
 *   use them afterwards
 * @param options.static arguments whose numbers f needs as plain numbers, for loops and shapes
 * @example
 * ```ts
 * import { compile, grad, type Tensor, tensor } from "voxgrad";
 *
 * const loss = (w: Tensor, x: Tensor) => w.mul(x).sum().square();
 * const step = compile((w: Tensor, x: Tensor, rate: Tensor) => w.sub(grad(loss)(w, x).mul(rate)), { donate: [0] });
 * let w = tensor([1, 2]);
 * for (let i = 0; i < 3; i++) w = await step(w, tensor([0.5, 1]), 0.1);
 * ```
 */
export function compile<A extends unknown[] = Tensor[], R = unknown, const S extends readonly number[] = []>(
  f: ((...args: A) => R) & NumbersAreTensors<A, S>,
  options: CompileOptions<S> = {},
): Compiled<PassedArgs<A, S>, R> {
  checkFunction("compile", "the first argument", f);
  checkOptions("compile", options, ["donate", "static", "precision"]);
  return compiled(f as (...args: unknown[]) => unknown, options) as unknown as Compiled<PassedArgs<A, S>, R>;
}

/** A program being built; `ready` is set when it is done. */
interface CacheEntry {
  readonly pending: Promise<TracedProgram>;
  ready: TracedProgram | null;
}

function compiled(f: (...args: unknown[]) => unknown, options: CompileOptions): Compiled<unknown[], unknown> {
  const donate = positionsOf("donate", options.donate);
  const fixed = new Set(positionsOf("static", options.static));
  for (const k of donate) {
    check(!fixed.has(k), "compile", () => `the argument ${k} is both static and donated; choose one`);
  }
  const isStatic = (k: number): boolean => fixed.has(k);
  const precision = options.precision ?? "f32";
  check(
    precision === "f32" || precision === "mixed",
    "compile",
    () => `precision is "f32" or "mixed", got ${show(options.precision)}`,
  );
  const mixed = precision === "mixed";
  /** [scale, steps since it changed], in mixed precision. */
  let lossScale = initialLossScale();
  const disposeOf = ({ ready }: CacheEntry): void => ready?.program.dispose();
  const cache = new LruCache<string, CacheEntry>(CAPACITY, { onDrop: disposeOf });
  let owner: Device | null = null;
  let version = 0;
  const forget = (): void => {
    for (const entry of cache.values()) disposeOf(entry);
    cache.clear();
  };

  /** The program for these arguments, cached or new. */
  const programFor = (
    device: Device,
    args: readonly unknown[],
    key: string,
    donated: ReadonlySet<number>,
  ): Promise<TracedProgram> => {
    if (owner !== device || version !== device.tuned.version) {
      forget();
      if (owner && owner !== device) lossScale = initialLossScale();
    }
    owner = device;
    version = device.tuned.version;
    const known = cache.get(key);
    if (known) return known.pending;
    const entry: CacheEntry = { pending: buildTraced(device, f, args, isStatic, donated, mixed), ready: null };
    cache.set(key, entry);
    entry.pending.then(
      // If the entry was evicted meanwhile, its program is disposed of.
      (traced) => (cache.peek(key) === entry ? (entry.ready = traced) : traced.program.dispose()),
      () => cache.peek(key) === entry && cache.delete(key),
    );
    return entry.pending;
  };

  /** Checks the arguments and returns their leaves as tensors, with donated ones marked. */
  const leavesOf = (args: readonly unknown[]): ArgumentLeaf[] => {
    for (const k of [...donate, ...fixed]) {
      const what = fixed.has(k) ? "static" : "donate";
      check(k < args.length, "compile", () => `${what} lists the argument ${k}, the call has ${args.length} arguments`);
    }
    const list: ArgumentLeaf[] = [];
    args.forEach((arg, k) => {
      tree.map(arg, (leaf, path) => {
        if (isStatic(k) || !isTraced(leaf)) return;
        const why = leaf instanceof Tensor ? whyGone(leaf) : null;
        if (why) fail("compile", `the argument ${k}${path && `.${path}`}, ${leaf}, ${why}`);
        const isTensor = leaf instanceof Tensor;
        list.push({ leaf: isTensor ? leaf : tensor(leaf), donated: isTensor && donate.includes(k) });
      });
    });
    return list;
  };
  const donatedOf = (leaves: readonly ArgumentLeaf[]): Set<number> =>
    new Set(leaves.flatMap((x, k) => (x.donated ? [k] : [])));

  /** Calls f with its traced leaves replaced by `leaves`, as part of the current trace. */
  const inline = (args: readonly unknown[], leaves: readonly Tensor[]): unknown =>
    callTraced("compile", () => f(...withLeaves(args, leaves, isStatic)));

  const run = async (args: readonly unknown[]): Promise<unknown> => {
    // Everything before the first await runs in the call, so donated tensors are invalid when it returns its promise.
    const inside = leavesOf(args);
    const key = signature(args, isStatic);
    const taken = takeArguments(inside);
    const { values } = taken;
    try {
      if (anomalyCheck()) {
        const mode = mixed ? { scale: scaleOf(lossScale), depth: 0, finite: null } : null;
        const { result: out, prints } = collectPrints(() => withPrecision(mode, () => inline(args, values)));
        // An argument may also be a result; it ends with the call, so return an alias.
        const result = tree.map(out, (leaf) => (leaf instanceof Tensor ? alias(leaf) : leaf));
        await evaluate(result);
        addPrints(prints);
        taken.end();
        return result;
      }
      // Arguments may be unevaluated graphs.
      const ready = evaluate(values);
      ready.catch(() => undefined);
      const device = await openDevice();
      const traced = await programFor(device, args, key, donatedOf(inside));
      const { program, captured, result, scales, prints } = traced;
      await ready;
      warnOfRepeats(traced);
      const inputs = [...values, ...(scales ? [lossScale] : []), ...captured].map((leaf, k) =>
        leafValue(device, leaf, program.passes(k) || program.overwrites(k))
      );
      const kept: Storage[] = [];
      let outputs: Storage[];
      try {
        values.forEach((leaf, k) => {
          if (!program.overwrites(k)) return;
          const storage = inputs[k] as Storage;
          const alone = !storage.shared && inputs.indexOf(storage) === k && inputs.lastIndexOf(storage) === k;
          if (!alone) kept.push((inputs[k] = copy(device, storage, `${leaf}`)) as Storage);
        });
        outputs = await program.run(inputs, taken.begin);
      } finally {
        for (const storage of kept) storage.release();
      }
      const received = (leaf: Tensor): Tensor =>
        new Tensor(leaf.shape, leaf.dtype, { kind: "device", storage: outputs.shift()! });
      const out = tree.map(result, (leaf) => (leaf instanceof Tensor ? received(leaf) : leaf));
      if (scales) {
        const before = lossScale;
        lossScale = received(before);
        before.dispose();
      }
      await sayAll(device, prints, outputs);
      taken.end();
      return out;
    } catch (error) {
      taken.fail();
      throw error;
    }
  };

  const call = (...args: unknown[]): Promise<unknown> => {
    if (!isTracing()) return run(args);
    check(
      !mixed || currentPrecision() !== null,
      "compile",
      () => 'a function with precision "mixed" is called within one without; give the outer one precision "mixed"',
    );
    // Typed as a promise, but in a trace the caller gets the result directly.
    return inline(args, leavesOf(args).map((x) => x.leaf)) as Promise<unknown>;
  };
  return Object.assign(call, {
    async plan(...args: unknown[]): Promise<ProgramInfo> {
      const inside = leavesOf(args);
      const key = signature(args, isStatic);
      return (await programFor(await openDevice(), args, key, donatedOf(inside))).program.info;
    },
    programs: () => [...cache.values()].flatMap(({ ready }) => ready ? [ready.program.info] : []),
    lossScale: async () => (mixed ? (await lossScale.data())[0] : 1),
    lossScaleState: () => lossScale,
    restoreLossScale: (state: Tensor) => {
      check(
        state instanceof Tensor && sameShape(state.shape, [2]),
        "restoreLossScale",
        () => `the state is of lossScaleState(), got ${show(state)}`,
      );
      lossScale = state;
    },
    dispose: forget,
  });
}

/** Prints what a run computed for it. */
async function sayAll(device: Device, prints: readonly Print[], outputs: readonly Storage[]): Promise<void> {
  if (prints.length === 0) return;
  const tensors = printed(prints);
  try {
    say(
      prints,
      await Promise.all(outputs.map(({ buffer }, k) => readBuffer(device, buffer, tensors[k].dtype, tensors[k].size))),
    );
  } finally {
    for (const storage of outputs) storage.release();
  }
}

function copy(device: Device, storage: Storage, label: string): Storage {
  const target = allocateBuffer(device, storage.buffer.size, label);
  const encoder = device.gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(storage.buffer, 0, target, 0, target.size);
  device.gpu.queue.submit([encoder.finish()]);
  return new Storage(device, target);
}
