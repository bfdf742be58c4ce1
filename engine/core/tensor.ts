/** The lazy tensor: a node of an immutable graph until it is evaluated, then a handle on device memory. */
import type { DType, TypedArray } from "./dtype.ts";
import { check, fail, show } from "./errors.ts";
import type { Operator } from "./operator.ts";
import { checkShape, type Shape, size } from "./shape.ts";
import { isTracing } from "./tracing.ts";

/** Reference-counted device memory of an evaluated tensor; the last release returns it to the pool. */
export interface DeviceStorage {
  retain(): DeviceStorage;
  release(): void;
}

/** The values of a tensor as nested arrays; a number or boolean for rank 0. */
export type NestedArray = number | boolean | NestedArray[];

/** Where the values of a tensor are: not yet computed, on the host, on the device, an argument of a trace, or gone. */
export type Source =
  | { kind: "op"; op: Operator<Tensor>; inputs: readonly Tensor[]; attrs: never }
  | { kind: "host"; data: TypedArray; uses: number }
  | { kind: "device"; storage: DeviceStorage }
  | { kind: "placeholder" }
  | { kind: "disposed" }
  | { kind: "donated"; call: Donation };

/** A compiled call that took ownership of its arguments; `where` is the line that made the call, if known. */
export interface Donation {
  where(): string;
  /** Whether it failed after the device had started to overwrite them. */
  failed: boolean;
}

/** How values are computed and read. engine/mod.ts sets it, so that core has no imports from other folders. */
export interface Evaluator {
  evaluate(tensors: readonly Tensor[]): Promise<void>;
  read(tensor: Tensor): Promise<TypedArray>;
}

let evaluator: Evaluator | null = null;
export const setEvaluator = (implementation: Evaluator): void => {
  evaluator = implementation;
};
export function requireEvaluator(): Evaluator {
  return evaluator ?? fail("evaluate", "no evaluator is wired; import engine/mod.ts");
}

/** Garbage-collected tensors release their memory; dispose() releases it immediately. */
const backstop = new FinalizationRegistry<DeviceStorage>((storage) => storage.release());

let nextId = 0;

let watcher: ((made: Tensor) => void) | null = null;
/** Calls `watch` for each new node; null stops it. Used by detectAnomaly. */
export const watchNodes = (watch: ((made: Tensor) => void) | null): void => {
  watcher = watch;
};

/** Whether new nodes are watched. */
export const isWatching = (): boolean => watcher !== null;

let differentiated: Tensor | null = null;
/** The tensor whose derivative rule is running. */
export const ruleUnderWay = (): Tensor | null => differentiated;
/** Runs a derivative rule of `t`; for messages. */
export function withRuleOf<T>(t: Tensor, rule: () => T): T {
  const before = differentiated;
  differentiated = before ?? t;
  try {
    return rule();
  } finally {
    differentiated = before;
  }
}

// JSR leaves members with computed names out of the types of a class; `using` needs this one.
export interface Tensor extends Disposable {}

/**
 * An n-dimensional array. Operators on it build a graph; `data()`, `item()`, `array()` and `evaluate` compute.
 *
 * @example
 * ```ts
 * import { tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * const y = x.mul(x).sum({ axes: [1] });
 * await y.array(); // [5, 25]
 * ```
 */
export class Tensor {
  /** Grows with creation, so that ascending order is a topological order. */
  readonly id: number;
  readonly shape: Shape;
  /** The number of elements. */
  readonly size: number;
  readonly dtype: DType;
  #source: Source;

  constructor(shape: Shape, dtype: DType, source: Source) {
    this.id = nextId++;
    // The shape of another tensor is shared.
    this.shape = Object.isFrozen(shape) ? shape : Object.freeze([...shape]);
    this.size = size(shape);
    this.dtype = dtype;
    this.#source = source;
    if (source.kind === "device") backstop.register(this, source.storage, this);
  }

  /** Location of the values; for internal use. */
  get source(): Source {
    return this.#source;
  }

  get rank(): number {
    return this.shape.length;
  }

  /** Replaces the graph history by device memory; called by the evaluator. */
  settle(storage: DeviceStorage): void {
    if (["device", "disposed", "donated"].includes(this.#source.kind)) return storage.release();
    this.#source = { kind: "device", storage };
    backstop.register(this, storage, this);
  }

  /** Moves the values to a compiled call, in the tensor that is returned; called by compile. */
  donate(call: Donation): Tensor {
    const source = this.#source;
    if (source.kind === "device") backstop.unregister(this);
    this.#source = { kind: "donated", call };
    return new Tensor(this.shape, this.dtype, source);
  }

  /** Undoes `donate`, unless the tensor was disposed of meanwhile. */
  takeBack(values: Tensor): void {
    if (this.#source.kind !== "donated") return values.dispose();
    this.#source = values.#source;
    if (values.#source.kind === "device") {
      backstop.unregister(values);
      backstop.register(this, values.#source.storage, this);
    }
    values.#source = { kind: "disposed" };
  }

  /** The values, computed if necessary, in row-major order. The array is a copy. */
  data(): Promise<TypedArray> {
    checkReadable("data", [this]);
    return requireEvaluator().read(this);
  }

  /** The value of a tensor with one element. */
  item(): Promise<number> {
    checkReadable("item", [this]);
    return this.#item();
  }

  async #item(): Promise<number> {
    if (this.size !== 1) {
      fail("item", `the tensor has ${this.size} elements, shape [${this.shape.join(", ")}]; one is wanted`);
    }
    return (await this.data())[0];
  }

  /** The values as nested arrays; a number for rank 0. */
  array(): Promise<NestedArray> {
    checkReadable("array", [this]);
    return this.#array();
  }

  async #array(): Promise<NestedArray> {
    const data = await this.data();
    const nest = (axis: number, offset: number): NestedArray => {
      if (axis === this.rank) return this.dtype === "bool" ? data[offset] !== 0 : data[offset];
      const step = size(this.shape.slice(axis + 1));
      return Array.from({ length: this.shape[axis] }, (_, k) => nest(axis + 1, offset + k * step));
    };
    return nest(0, 0);
  }

  /** Releases the memory now; using the tensor afterwards is an error. */
  dispose(): void {
    if (this.#source.kind === "device") {
      backstop.unregister(this);
      this.#source.storage.release();
    }
    this.#source = { kind: "disposed" };
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * Tensors do not convert to numbers: `x * 2`, `x > 0` and `Math.sqrt(x)` throw. As a string, a tensor is its dtype
   * and shape.
   */
  [Symbol.toPrimitive](hint: "number" | "string" | "default"): string {
    if (hint === "string") return this.toString();
    return fail(
      `${this}`,
      this.#source.kind === "placeholder"
        ? "compile and vmap trace their arguments, numbers among them, so this has no value while the function runs. " +
          "Compute with operators (x.mul(2), sub(1, x), sqrt(x), where(x.greater(3), a, b)), or pass the number's " +
          "position k " +
          "in compile(f, { static: [k] }), which makes it a plain number and compiles again for each value"
        : "a tensor is no number: compute with operators (x.mul(2), add(x, y), sqrt(x), where(x.greater(0), a, b)), " +
          "or read its value first: await x.item()",
    );
  }

  toString(): string {
    return `Tensor(${this.dtype}[${this.shape.join(", ")}])`;
  }
}

/** Rejects anything but a tensor; every operator checks its inputs first. */
export function checkTensor(operator: string, x: unknown, what = "the input"): asserts x is Tensor {
  check(x instanceof Tensor, operator, () => `${what} is a tensor, got ${show(x)}`);
}

/** Why a tensor no longer has values, worded to follow its name; null if it has them. */
export function whyGone({ source }: Tensor): string | null {
  if (source.kind === "disposed") return "was disposed of; keep a tensor until its last use";
  if (source.kind !== "donated") return null;
  const { where, failed } = source.call;
  const reason = `was donated to a compiled call${where()}`;
  return failed
    ? `${reason} that failed on the device, which may have overwritten it; load it again from a file or the host`
    : `${reason}, which disposed of it; use what that call returns, or leave its position out of donate`;
}

/** Throws if the values of a tensor cannot be read because a function is being traced. */
export function checkReadable(operator: string, tensors: readonly Tensor[]): void {
  if (!isTracing()) return;
  const seen = new Set<Tensor>(tensors);
  for (const t of seen) {
    if (t.source.kind === "op") { for (const x of t.source.inputs) seen.add(x); }
    if (t.source.kind === "placeholder") {
      fail(
        operator,
        `${t} is an argument of a function that compile or vmap traces, or made of one; its values are not known ` +
          "before it runs, so do not read them inside",
      );
    }
  }
}

/** Creates a graph node: `op` applied to `inputs`. Operators call it after checking their arguments. */
export function node(
  op: Operator<Tensor>,
  inputs: readonly Tensor[],
  attrs: unknown,
  shape: Shape,
  dtype: DType,
): Tensor {
  for (const input of inputs) {
    const why = whyGone(input);
    if (why) fail(op.name, `an input ${why}`);
  }
  // That of an input has been checked.
  if (shape !== inputs[0]?.shape) checkShape(op.name, shape);
  const made = new Tensor(shape, dtype, { kind: "op", op, inputs, attrs: attrs as never });
  watcher?.(made);
  return made;
}

/** The inputs of the operator that computes a tensor; none for a leaf. */
export const inputsOf = ({ source }: Tensor): readonly Tensor[] => source.kind === "op" ? source.inputs : [];

/**
 * All tensors that `outputs` depend on, `outputs` included, in order of creation, which is a topological order. The
 * walk is iterative, so deep graphs do not overflow the stack.
 *
 * @param inputs the tensors that a tensor depends on; default: its operator's inputs. Null excludes the tensor
 */
export function ancestors(
  outputs: readonly Tensor[],
  inputs: (t: Tensor) => readonly Tensor[] | null = inputsOf,
): Tensor[] {
  const seen = new Set<Tensor>();
  const order: Tensor[] = [];
  const stack = [...outputs];
  while (stack.length > 0) {
    const t = stack.pop()!;
    if (seen.has(t)) continue;
    seen.add(t);
    const next = inputs(t);
    if (next === null) continue;
    order.push(t);
    for (const x of next) stack.push(x);
  }
  return order.sort((a, b) => a.id - b.id);
}
