/** compile: trace a function once per signature, then run it as one program. */
import { callSite } from "../core/call_site.ts";
import { check, checkFunction, checkOptions, fail, isPlain, show } from "../core/errors.ts";
import { type Mixed, mixed as currentPrecision, withPrecision } from "../core/precision.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor, whyGone } from "../core/tensor.ts";
import { callTraced, isTracing } from "../core/tracing.ts";
import * as tree from "../core/tree.ts";
import { initialLossScale, nextLossScale, scaleOf } from "../ops/elementwise/loss_scale.ts";
import { tensor } from "../ops/elementwise/creation.ts";
import { alias } from "../ops/shape/reshape.ts";
import { allocateBuffer, type Device, device as openDevice, Storage, warn } from "../gpu/mod.ts";
import { isChecking } from "./anomaly.ts";
import { evaluate, leafValue } from "./evaluate.ts";
import { lower } from "./lower.ts";
import { Program, type ProgramInfo } from "./program.ts";
import { isTraced, trace } from "./trace.ts";
import { tuneNew } from "./tune.ts";

export interface CompileOptions<S extends readonly number[] = readonly number[]> {
  /**
   * Positions of arguments whose memory the results may take over. Their tensors are gone from the moment of the call;
   * a call that fails before the device has begun gives them back.
   */
  donate?: readonly number[];
  /**
   * Positions of arguments that stay plain numbers, truth values and strings inside, as jax.jit's static_argnums: f may
   * branch and loop on them, and is compiled anew for each value.
   */
  static?: S;
  /**
   * "mixed": products (convolutions, matmul) take and give f16 and add up in f32, layers keep the type of their input,
   * sums and losses are f32, as with torch.autocast; parameters stay as they come, f32. A grad or valueAndGrad that no
   * other derivative encloses multiplies its loss by a scale: it halves when a gradient overflows, in which case all
   * gradients are 0 and the optimizers leave parameters and state as they are, and doubles after 2,000 steps without.
   * Other derivatives (vjp, jvp, hvp) are not scaled. Needs shader-f16. Default "f32": every tensor in its own type.
   */
  precision?: Precision;
}

export type Precision = "f32" | "mixed";

type IsAny<T> = 0 extends 1 & T ? true : false;

/** What a caller may pass for a parameter: a number where f has a scalar tensor. */
export type Passed<T> = IsAny<T> extends true ? T
  : T extends Tensor ? T | number
  : T extends readonly unknown[] | { readonly [name: string]: unknown } ? { [K in keyof T]: Passed<T[K]> }
  : T;
type PassedArgs<A extends unknown[], S extends readonly number[]> = {
  [K in keyof A]: K extends `${S[number]}` ? A[K] : Passed<A[K]>;
};

type HasNumber<T> = IsAny<T> extends true ? false
  : [Exclude<T, null | undefined>] extends [never] ? false
  : [Exclude<T, null | undefined>] extends [number] ? true
  : false;
type NumbersOf<A extends unknown[], S extends readonly number[]> = {
  [K in keyof A]: K extends `${S[number]}` ? false : HasNumber<A[K]>;
};
/** A parameter of type number is refused: inside it is a Tensor, unless its position is in `static`. */
type NumbersAreTensors<A extends unknown[], S extends readonly number[]> = true extends NumbersOf<A, S>[number]
  ? { "compile traces numbers: declare the parameter as a Tensor, or list its position in static": never }
  : unknown;

/** A compiled function: call it as the original, with a promise for the result. */
export interface Compiled<A extends unknown[], R> {
  /** Within a function that is traced itself, such as one given to grad or compile, the call gives the result at once. */
  (...args: A): Promise<R>;
  /** Builds the program for arguments like these, without running it, and tells what it is made of and needs. */
  plan(...args: A): Promise<ProgramInfo>;
  /** What the programs kept are made of, one entry per signature, the latest used last. */
  programs(): ProgramInfo[];
  /** The loss scale of mixed precision for the next call; 1 in f32. */
  lossScale(): Promise<number>;
  /** All that mixed precision remembers between calls, f32 [2]; valid until the next call. */
  lossScaleState(): Tensor;
  /** Goes on from such a state, as a resumed training does. */
  restoreLossScale(state: Tensor): void;
  /** Gives back the memory of its programs. */
  dispose(): void;
}

interface Traced {
  readonly program: Program;
  /** Tensors from outside the function that it uses. */
  readonly captured: readonly Tensor[];
  readonly result: unknown;
  /** Whether the program takes a loss scale after its arguments and gives the next one after its results. */
  readonly scales: boolean;
  /** A tensor from outside that it computes, in words. */
  readonly repeats: string | null;
  calls: number;
}

/** Programs of one function kept at most; the least recently used go first. */
const CAPACITY = 64;

/** Equal texts: the same trace serves. */
function signature(args: readonly unknown[], isStatic: (position: number) => boolean): string {
  const word = (value: unknown, path: string, fixed: boolean): string => {
    if (Array.isArray(value)) return `[${value.map((x, k) => word(x, `${path}.${k}`, fixed)).join(",")}]`;
    if (isPlain(value)) {
      const entries = Object.entries(value).map(([k, x]) => `${JSON.stringify(k)}:${word(x, `${path}.${k}`, fixed)}`);
      return `{${entries.join(",")}}`;
    }
    if (value instanceof Tensor) {
      check(!fixed, "compile", () => `the argument ${path} is static, so it takes no tensors, got ${value}`);
      return `${value.dtype}[${value.shape}]`;
    }
    if (typeof value === "number") return !fixed ? "number" : Object.is(value, -0) ? "-0" : String(value);
    if (typeof value === "string") return JSON.stringify(value);
    if (value === undefined || value === null || typeof value === "boolean") return String(value);
    return fail(
      "compile",
      `the argument ${path} is ${show(value)}; it takes trees of tensors, numbers, truth values and strings`,
    );
  };
  return args.map((arg, k) => word(arg, String(k), isStatic(k))).join(" ");
}

/** Argument positions that an option lists. */
function positionsOf(name: string, positions: unknown): readonly number[] {
  if (positions === undefined) return [];
  check(
    Array.isArray(positions) &&
      positions.every((k) => Number.isInteger(k) && k >= 0) &&
      new Set(positions).size === positions.length,
    "compile",
    () => `${name} lists argument positions, got ${show(positions)}; each once, such as [0, 1]`,
  );
  return positions;
}

/**
 * f as a compiled program: traced at the first call with arguments of given shapes, dtypes and structure, then replayed with one submission
 * a call. Arguments and results are trees. Numbers among the arguments are traced as f32 scalars, so that a changing learning
 * rate compiles once: inside they are Tensors, and their parameters are declared so. Truth values and strings, and what
 * `static` lists, are constants of the trace. f must be a pure function of its arguments.
 *
 * @param options.donate arguments that the results may overwrite, such as parameters and optimizer state; do not use them afterwards
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
export function compile<A extends unknown[], R, const S extends readonly number[] = []>(
  f: ((...args: A) => R) & NumbersAreTensors<A, S>,
  options: CompileOptions<S> = {},
): Compiled<PassedArgs<A, S>, R> {
  checkFunction("compile", "the first argument", f);
  checkOptions("compile", options, ["donate", "static", "precision"]);
  return compiled(f as (...args: any[]) => any, options) as unknown as Compiled<PassedArgs<A, S>, R>;
}

function compiled(f: (...args: any[]) => any, options: CompileOptions): Compiled<any[], any> {
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
  const traces = new Map<string, Promise<Traced>>();
  const ready = new Map<string, Traced>();
  let owner: Device | null = null;
  let version = 0;
  const forget = (): void => {
    for (const t of ready.values()) t.program.dispose();
    ready.clear();
    traces.clear();
  };

  /** The program for these arguments, out of the cache or new. */
  const tracedFor = (
    device: Device,
    args: readonly unknown[],
    key: string,
    donated: ReadonlySet<number>,
  ): Promise<Traced> => {
    if (owner !== device || version !== device.tuned.version) {
      forget();
      if (owner && owner !== device) lossScale = initialLossScale();
    }
    owner = device;
    version = device.tuned.version;
    let pending = traces.get(key);
    if (pending) {
      traces.delete(key);
      const known = ready.get(key);
      if (known && ready.delete(key)) ready.set(key, known);
    } else {
      pending = build(device, f, args, isStatic, donated, mixed);
      pending.then(
        (t) => (traces.get(key) === pending ? ready.set(key, t) : t.program.dispose()),
        () => traces.get(key) === pending && traces.delete(key),
      );
    }
    traces.set(key, pending);
    if (traces.size > CAPACITY) {
      const [oldest] = traces.keys();
      traces.delete(oldest);
      ready.get(oldest)?.program.dispose();
      ready.delete(oldest);
    }
    return pending;
  };

  /** Leaves of the arguments as tensors, after a look at all of them, and which of them are donated. */
  const given = (args: readonly unknown[]): Given[] => {
    for (const k of [...donate, ...fixed]) {
      const what = fixed.has(k) ? "static" : "donate";
      check(k < args.length, "compile", () => `${what} lists the argument ${k}, the call has ${args.length} arguments`);
    }
    const list: Given[] = [];
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
  const donatedOf = (leaves: readonly Given[]): Set<number> =>
    new Set(leaves.flatMap((x, k) => (x.donated ? [k] : [])));

  /** What f gives for `leaves` in the place of those of the arguments: part of the graph that is being made. */
  const inline = (args: readonly unknown[], leaves: readonly Tensor[]): any =>
    callTraced("compile", () => f(...rebuildNumbers(args, leaves, isStatic)));

  const run = async (args: readonly unknown[]): Promise<any> => {
    // Up to the first await all is at the call: what is donated is gone when it returns its promise.
    const inside = given(args);
    const key = signature(args, isStatic);
    const taken = take(inside);
    const { values } = taken;
    try {
      if (isChecking()) {
        const mode = mixed ? { scale: scaleOf(lossScale), depth: 0, finite: null } : null;
        const out = withPrecision(mode, () => inline(args, values));
        // An argument may be a result too, and ends with the call.
        const result = tree.map(out, (leaf) => (leaf instanceof Tensor ? alias(leaf) : leaf));
        await evaluate(result);
        taken.end();
        return result;
      }
      // Arguments may be graphs themselves.
      const ready = evaluate(values);
      ready.catch(() => undefined);
      const device = await openDevice();
      const traced = await tracedFor(device, args, key, donatedOf(inside));
      const { program, captured, result, scales } = traced;
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
      taken.end();
      return out;
    } catch (error) {
      taken.fail();
      throw error;
    }
  };

  const call = (...args: any[]): any => {
    if (!isTracing()) return run(args);
    check(
      !mixed || currentPrecision() !== null,
      "compile",
      () => 'a function with precision "mixed" is called within one without; give the outer one precision "mixed"',
    );
    return inline(args, given(args).map((x) => x.leaf));
  };
  return Object.assign(call, {
    async plan(...args: any[]): Promise<ProgramInfo> {
      const inside = given(args);
      const key = signature(args, isStatic);
      return (await tracedFor(await openDevice(), args, key, donatedOf(inside))).program.info;
    },
    programs: () => [...ready.values()].map((t) => t.program.info),
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

/** A leaf of the arguments. */
interface Given {
  readonly leaf: Tensor;
  readonly donated: boolean;
}

/** The arguments with `leaves` in the place of what is traced. */
function rebuildNumbers(args: readonly unknown[], leaves: readonly Tensor[], isStatic: (k: number) => boolean): any[] {
  let next = 0;
  return args.map((arg, k) => (isStatic(k) ? arg : tree.map(arg, (leaf) => (isTraced(leaf) ? leaves[next++] : leaf))));
}

/** The arguments of a call for its duration: what is done to the caller's tensors meanwhile does not touch them. */
function take(inside: readonly Given[]): {
  readonly values: readonly Tensor[];
  /** The device may be overwriting from here on. */
  begin(): void;
  end(): void;
  fail(): void;
} {
  const at = new Error();
  const donation = { where: () => callSite(at.stack), failed: false };
  const own = new Map<Tensor, Tensor>();
  for (const { leaf, donated } of inside) if (donated && !own.has(leaf)) own.set(leaf, leaf.donate(donation));
  const held: Tensor[] = [];
  const hold = (leaf: Tensor): Tensor => {
    const { source } = leaf;
    if (source.kind !== "device") return leaf;
    held.push(new Tensor(leaf.shape, leaf.dtype, { kind: "device", storage: source.storage.retain() }));
    return held.at(-1)!;
  };
  const values = inside.map(({ leaf }) => own.get(leaf) ?? hold(leaf));
  let begun = false;
  const end = (): void => {
    for (const t of [...own.values(), ...held.splice(0)]) t.dispose();
  };
  return {
    values,
    begin: () => (begun = true),
    end,
    fail() {
      if (begun) donation.failed = true;
      else for (const [leaf, values] of own) leaf.takeBack(values);
      end();
    },
  };
}

/** Programs whose user was told that they compute tensors from outside again and again. */
const REPEATS_TOLD = 3;
let repeatsTold = 0;

/** Tells once, at the second call, of tensors from outside that each call computes anew. */
function warnOfRepeats(traced: Traced): void {
  if (++traced.calls !== 2 || traced.repeats === null || repeatsTold++ >= REPEATS_TOLD) return;
  warn(
    `compile: each call computes ${traced.repeats} anew, which the function uses from outside and which was never evaluated; ` +
      "await evaluate(tensor) before the first call, or pass it as an argument",
  );
}

/** The program of f for arguments like these; its kernels measured first where the device was opened for that. */
async function build(
  device: Device,
  f: (...args: any[]) => unknown,
  args: readonly unknown[],
  isStatic: (position: number) => boolean,
  donated: ReadonlySet<number>,
  mixed: boolean,
): Promise<Traced> {
  if (mixed && !device.target.features.has("shader-f16")) {
    fail(
      "compile",
      'precision "mixed" needs the WebGPU feature shader-f16, which this adapter lacks; leave precision out, or look at npx voxgrad doctor for another adapter',
    );
  }
  const state = new Tensor([2], "f32", { kind: "placeholder" });
  const precision: Mixed | null = mixed ? { scale: scaleOf(state), depth: 0, finite: null } : null;
  const traced = trace("compile", (...given) => withPrecision(precision, () => f(...given)), args, isStatic);
  const finite = precision?.finite;
  const placeholders = finite ? [...traced.placeholders, state] : traced.placeholders;
  const outputs = finite ? [...traced.outputs, nextLossScale(state, finite)] : traced.outputs;
  if (device.tunes) await tuneNew(device, outputs, placeholders);
  const graph = lower(outputs, device.target, placeholders);
  const program = await Program.build(device, graph, { donated, keepsArena: true });
  const captured = graph.leaves.slice(placeholders.length);
  return {
    program,
    captured,
    result: traced.result,
    scales: Boolean(finite),
    repeats: repeatsOf(outputs, state.id),
    calls: 0,
  };
}

/** The latest tensor older than the trace that is computed in it, in words; null where there is none. */
function repeatsOf(outputs: readonly Tensor[], first: number): string | null {
  const seen = new Set<Tensor>(outputs);
  let latest: Tensor | null = null;
  for (const t of seen) {
    if (t.source.kind !== "op") continue;
    const { op, inputs } = t.source;
    for (const x of inputs) seen.add(x);
    if (t.id < first && inputs.length > 0 && op.lowering.kind !== "view" && (!latest || t.id > latest.id)) latest = t;
  }
  return latest?.source.kind === "op" ? `${latest}, made by ${latest.source.op.name},` : null;
}

function copy(device: Device, storage: Storage, label: string): Storage {
  const target = allocateBuffer(device, storage.buffer.size, label);
  const encoder = device.gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(storage.buffer, 0, target, 0, target.size);
  device.gpu.queue.submit([encoder.finish()]);
  return new Storage(device, target);
}
