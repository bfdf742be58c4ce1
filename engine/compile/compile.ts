/** compile: trace a function once per signature, then run it as one program. */
import { check, fail, show } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { tensor } from "../ops/creation.ts";
import { allocateBuffer, device as openDevice, type Device, onClose, Storage } from "../gpu/mod.ts";
import { evaluate, leafValue } from "./evaluate.ts";
import { lower } from "./lower.ts";
import { Program, type ProgramInfo } from "./program.ts";

export interface CompileOptions {
  /** Positions of arguments whose memory the results may take over; they are disposed of by the call. */
  donate?: readonly number[];
}

/** A compiled function: call it as the original, with a promise for the result. */
export interface Compiled<A extends unknown[], R> {
  (...args: A): Promise<R>;
  /** What the programs built so far are made of, one entry per signature. */
  programs(): ProgramInfo[];
  /** Gives back the memory of its programs. */
  dispose(): void;
}

interface Traced {
  readonly program: Program;
  /** Tensors from outside the function that it uses. */
  readonly captured: readonly Tensor[];
  readonly result: unknown;
}

/** An argument leaf: tensors and numbers are traced, anything else is part of the signature. */
const isTraced = (leaf: unknown): leaf is Tensor | number => leaf instanceof Tensor || typeof leaf === "number";

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
  const donate = options.donate ?? [];
  check(
    Array.isArray(donate) && donate.every((k) => Number.isInteger(k) && k >= 0),
    "compile",
    () => `donate lists argument positions, got ${show(donate)}`,
  );
  const traces = new Map<string, Promise<Traced>>();
  const ready: Traced[] = [];
  onClose(() => {
    traces.clear();
    ready.length = 0;
  });

  const call = async (...args: A): Promise<R> => {
    const device = await openDevice();
    const key = signature(args);
    const given = args.flatMap((arg, k) =>
      tree
        .leaves(arg)
        .filter(isTraced)
        .map((leaf) => ({
          leaf: leaf instanceof Tensor ? leaf : tensor(new Float32Array([leaf]), { shape: [] }),
          donated: donate.includes(k) && leaf instanceof Tensor,
        })),
    );
    let pending = traces.get(key);
    if (!pending) {
      pending = trace(device, f, args, new Set(given.flatMap((x, k) => (x.donated ? [k] : []))));
      traces.set(key, pending);
      pending.then(
        (t) => ready.push(t),
        () => traces.delete(key),
      );
    }
    const { program, captured, result } = await pending;
    // Arguments may be graphs themselves.
    await evaluate(given.map((x) => x.leaf));
    const inputs = [...given.map((x) => x.leaf), ...captured].map((leaf, k) =>
      leafValue(device, leaf, program.passes(k) || program.overwrites(k)),
    );
    const kept: Storage[] = [];
    given.forEach(({ leaf }, k) => {
      if (!program.overwrites(k)) return;
      const storage = inputs[k] as Storage;
      const alone = !storage.shared && inputs.indexOf(storage) === k && inputs.lastIndexOf(storage) === k;
      if (!alone) kept.push((inputs[k] = copy(device, storage, `${leaf}`)) as Storage);
    });
    const outputs = await program.run(inputs);
    for (const storage of kept) storage.release();
    for (const { leaf, donated } of given) if (donated) leaf.dispose();
    return tree.map(result, (leaf) =>
      leaf instanceof Tensor ? new Tensor(leaf.shape, leaf.dtype, { kind: "device", storage: outputs.shift()! }) : leaf,
    );
  };
  return Object.assign(call, {
    programs: () => ready.map((t) => t.program.info),
    dispose() {
      for (const t of ready) t.program.dispose();
      ready.length = 0;
      traces.clear();
    },
  });
}

async function trace<A extends unknown[]>(
  device: Device,
  f: (...args: A) => unknown,
  args: A,
  donated: ReadonlySet<number>,
): Promise<Traced> {
  const placeholders: Tensor[] = [];
  const traced = tree.map(args, (leaf) => {
    if (!isTraced(leaf)) return leaf;
    const [shape, dtype] = leaf instanceof Tensor ? [leaf.shape, leaf.dtype] : [[], "f32" as const];
    const placeholder = new Tensor(shape, dtype, { kind: "placeholder" });
    placeholders.push(placeholder);
    return placeholder;
  });
  const result = f(...(traced as A));
  check(
    !(result instanceof Promise),
    "compile",
    () => "the function is asynchronous; it is traced before values exist, so do not await inside",
  );
  const outputs = tree.leaves(result).filter((x): x is Tensor => x instanceof Tensor);
  check(outputs.length > 0, "compile", () => "the function gives no tensor");
  const graph = lower(outputs, placeholders);
  const program = await Program.build(device, graph, { donated, keepsArena: true });
  return { program, captured: graph.leaves.slice(placeholders.length), result };
}

function copy(device: Device, storage: Storage, label: string): Storage {
  const target = allocateBuffer(device, storage.buffer.size, label);
  const encoder = device.gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(storage.buffer, 0, target, 0, target.size);
  device.gpu.queue.submit([encoder.finish()]);
  return new Storage(target);
}
