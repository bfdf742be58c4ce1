/** compile: trace a function once per signature, then run it as one program. */
import { check, checkFunction, checkOptions, fail, show } from "../core/errors.ts";
import { type Mixed, withPrecision } from "../core/precision.ts";
import { sameShape } from "../core/shape.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { initialLossScale, nextLossScale, scaleOf } from "../ops/loss_scale.ts";
import { tensor } from "../ops/creation.ts";
import { allocateBuffer, device as openDevice, type Device, Storage } from "../gpu/mod.ts";
import { isChecking } from "./anomaly.ts";
import { evaluate, leafValue } from "./evaluate.ts";
import { lower } from "./lower.ts";
import { Program, type ProgramInfo } from "./program.ts";
import { isTraced, trace } from "./trace.ts";
import { tuneNew } from "./tune.ts";

export interface CompileOptions {
  /** Positions of arguments whose memory the results may take over; they are disposed of by the call. */
  donate?: readonly number[];
  /**
   * "mixed": products (convolutions, matmul) take and give f16 and add up in f32, layers keep the type of their input,
   * sums and losses are f32, as with torch.autocast; parameters stay as they come, f32. A grad or valueAndGrad that no
   * other derivative encloses multiplies its loss by a scale: it halves when a gradient overflows, in which case all
   * gradients are 0 and the optimisers leave parameters and state as they are, and doubles after 2,000 steps without.
   * Other derivatives (vjp, jvp, hvp) are not scaled. Needs shader-f16. Default "f32": every tensor in its own type.
   */
  precision?: Precision;
}

export type Precision = "f32" | "mixed";

/** A compiled function: call it as the original, with a promise for the result. */
export interface Compiled<A extends unknown[], R> {
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
}

/** Programs of one function kept at most; the least recently used go first. */
const CAPACITY = 64;

function signature(args: readonly unknown[]): string {
  const words: string[] = [];
  tree.map(args, (leaf, path) => {
    if (leaf instanceof Tensor) words.push(`${path}:${leaf.dtype}[${leaf.shape}]`);
    else if (typeof leaf === "number") words.push(`${path}:number`);
    else if (leaf === undefined || leaf === null || ["boolean", "string"].includes(typeof leaf))
      words.push(`${path}=${show(leaf)}`);
    else
      fail(
        "compile",
        `the argument ${path} is a ${leaf?.constructor?.name ?? typeof leaf}; it takes trees of tensors, numbers, truth values and strings`,
      );
  });
  return words.join(" ");
}

/**
 * f as a compiled program: traced at the first call with arguments of given shapes, dtypes and structure, then replayed with one submission
 * a call. Arguments and results are trees; numbers among the arguments are traced as f32 scalars, so that a changing learning
 * rate compiles once; truth values and strings are constants of the trace. f must be a pure function of its arguments.
 *
 * @param options.donate arguments that the results may overwrite, such as parameters and optimiser state; do not use them afterwards
 * @example
 * const step = compile((params, x, rate) => {
 *   const [loss, grads] = valueAndGrad(lossOf)(params, x);
 *   return [loss, tree.map(params, (p, path) => p.sub(tree.flatten(grads).get(path).mul(rate)))];
 * }, { donate: [0] });
 * [loss, params] = await step(params, x, 0.1);
 */
export function compile<A extends unknown[], R>(f: (...args: A) => R, options: CompileOptions = {}): Compiled<A, R> {
  checkFunction("compile", "the first argument", f);
  checkOptions("compile", options, ["donate", "precision"]);
  const donate = options.donate ?? [];
  check(
    Array.isArray(donate) && donate.every((k) => Number.isInteger(k) && k >= 0),
    "compile",
    () => `donate lists argument positions, got ${show(donate)}`,
  );
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
  const tracedFor = (device: Device, args: A, donated: ReadonlySet<number>): Promise<Traced> => {
    if (owner !== device || version !== device.tuned.version) {
      forget();
      if (owner && owner !== device) lossScale = initialLossScale();
    }
    owner = device;
    version = device.tuned.version;
    const key = signature(args);
    let pending = traces.get(key);
    if (pending) {
      traces.delete(key);
      const known = ready.get(key);
      if (known && ready.delete(key)) ready.set(key, known);
    } else {
      pending = build(device, f, args, donated, mixed);
      pending.then(
        (t) => (traces.get(key) === pending ? ready.set(key, t) : t.program.dispose()),
        () => traces.get(key) === pending && traces.delete(key),
      );
    }
    traces.set(key, pending);
    if (traces.size > CAPACITY) {
      const [oldest] = traces.keys();
      traces.delete(oldest!);
      ready.get(oldest!)?.program.dispose();
      ready.delete(oldest!);
    }
    return pending;
  };

  /** Leaves of the arguments as tensors, and which of them are donated. */
  const given = (args: A): { leaf: Tensor; donated: boolean }[] =>
    args.flatMap((arg, k) =>
      tree
        .leaves(arg)
        .filter(isTraced)
        .map((leaf) => ({
          leaf: leaf instanceof Tensor ? leaf : tensor(new Float32Array([leaf]), { shape: [] }),
          donated: donate.includes(k) && leaf instanceof Tensor,
        })),
    );
  const donatedOf = (leaves: readonly { donated: boolean }[]): Set<number> =>
    new Set(leaves.flatMap((x, k) => (x.donated ? [k] : [])));

  const call = async (...args: A): Promise<R> => {
    const device = await openDevice();
    const inside = given(args);
    if (isChecking()) {
      const scale = scaleOf(lossScale);
      const result = withPrecision(mixed ? { scale, depth: 0, finite: null } : null, () =>
        f(...(rebuildNumbers(args, inside) as A)),
      );
      await evaluate(result);
      for (const { leaf, donated } of inside) if (donated) leaf.dispose();
      return result;
    }
    const pending = tracedFor(device, args, donatedOf(inside));
    const { program, captured, result, scales } = await pending;
    // Arguments may be graphs themselves.
    await evaluate(inside.map((x) => x.leaf));
    const inputs = [...inside.map((x) => x.leaf), ...(scales ? [lossScale] : []), ...captured].map((leaf, k) =>
      leafValue(device, leaf, program.passes(k) || program.overwrites(k)),
    );
    const kept: Storage[] = [];
    let outputs: Storage[];
    try {
      inside.forEach(({ leaf }, k) => {
        if (!program.overwrites(k)) return;
        const storage = inputs[k] as Storage;
        const alone = !storage.shared && inputs.indexOf(storage) === k && inputs.lastIndexOf(storage) === k;
        if (!alone) kept.push((inputs[k] = copy(device, storage, `${leaf}`)) as Storage);
      });
      outputs = await program.run(inputs);
    } finally {
      for (const storage of kept) storage.release();
    }
    for (const { leaf, donated } of inside) if (donated) leaf.dispose();
    const received = (leaf: Tensor): Tensor =>
      new Tensor(leaf.shape, leaf.dtype, { kind: "device", storage: outputs.shift()! });
    const values = tree.map(result, (leaf) => (leaf instanceof Tensor ? received(leaf) : leaf));
    if (scales) {
      const before = lossScale;
      lossScale = received(before);
      before.dispose();
    }
    return values;
  };
  return Object.assign(call, {
    async plan(...args: A): Promise<ProgramInfo> {
      const device = await openDevice();
      return (await tracedFor(device, args, donatedOf(given(args)))).program.info;
    },
    programs: () => [...ready.values()].map((t) => t.program.info),
    lossScale: async () => (mixed ? (await lossScale.data())[0]! : 1),
    lossScaleState: () => lossScale,
    restoreLossScale: (state: Tensor) => {
      check(sameShape(state.shape, [2]), "restoreLossScale", () => `the state is of lossScaleState(), got ${state}`);
      lossScale = state;
    },
    dispose: forget,
  });
}

/** The arguments with numbers as the tensors that they are traced as. */
function rebuildNumbers(args: readonly unknown[], inside: readonly { leaf: Tensor }[]): unknown {
  let k = 0;
  return tree.map(args, (leaf) => (isTraced(leaf) ? inside[k++]!.leaf : leaf));
}

/** The program of f for arguments like these; its kernels measured first where the device was opened for that. */
async function build<A extends unknown[]>(
  device: Device,
  f: (...args: A) => unknown,
  args: A,
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
  const traced = trace("compile", (...given: A) => withPrecision(precision, () => f(...given)), args);
  const finite = precision?.finite;
  const placeholders = finite ? [...traced.placeholders, state] : traced.placeholders;
  const outputs = finite ? [...traced.outputs, nextLossScale(state, finite)] : traced.outputs;
  if (device.tunes) await tuneNew(device, outputs, placeholders);
  const graph = lower(outputs, device.target, placeholders);
  const program = await Program.build(device, graph, { donated, keepsArena: true });
  return { program, captured: graph.leaves.slice(placeholders.length), result: traced.result, scales: Boolean(finite) };
}

function copy(device: Device, storage: Storage, label: string): Storage {
  const target = allocateBuffer(device, storage.buffer.size, label);
  const encoder = device.gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(storage.buffer, 0, target, 0, target.size);
  device.gpu.queue.submit([encoder.finish()]);
  return new Storage(device, target);
}
