/** The lazy tensor: a node of an immutable graph until it is evaluated, then a handle on device memory. */
import type { DType, TypedArray } from "./dtype.ts";
import { check, fail, show } from "./errors.ts";
import type { Op } from "./op.ts";
import { checkShape, size, type Shape } from "./shape.ts";

/** Device memory of an evaluated tensor, counted: the last release hands it back to the pool. */
export interface DeviceStorage {
  retain(): DeviceStorage;
  release(): void;
}

/** Where the values of a tensor are: still to be computed, on the host, on the device, an argument of a trace, or gone. */
export type Source =
  | { kind: "op"; op: Op; inputs: readonly Tensor[]; attrs: any }
  | { kind: "host"; data: TypedArray; uses: number }
  | { kind: "device"; storage: DeviceStorage }
  | { kind: "placeholder" }
  | { kind: "disposed" };

/** How values are computed and read; engine/mod.ts wires it, so that core imports nothing. */
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

/** Tensors that are collected give their memory back; dispose() does so at once. */
const backstop = new FinalizationRegistry<DeviceStorage>((storage) => storage.release());

let nextId = 0;

/**
 * An n-dimensional array. Operators on it build a graph; `data()`, `item()`, `array()` and `evaluate` compute.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * const y = x.mul(x).sum({ axes: [1] });
 * await y.array(); // [5, 25]
 */
export class Tensor {
  /** Grows with creation, so that ascending order is a topological order. */
  readonly id: number;
  readonly shape: Shape;
  readonly dtype: DType;
  #source: Source;

  constructor(shape: Shape, dtype: DType, source: Source) {
    this.id = nextId++;
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.#source = source;
    if (source.kind === "device") backstop.register(this, source.storage, this);
  }

  /** Where the values are; for the engine. */
  get source(): Source {
    return this.#source;
  }

  get size(): number {
    return size(this.shape);
  }

  get rank(): number {
    return this.shape.length;
  }

  /** Settles the tensor on device memory and lets go of its history; for the evaluator. */
  settle(storage: DeviceStorage): void {
    if (this.#source.kind === "device" || this.#source.kind === "disposed") return storage.release();
    this.#source = { kind: "device", storage };
    backstop.register(this, storage, this);
  }

  /** The values, computed if need be, in row-major order. */
  async data(): Promise<TypedArray> {
    return requireEvaluator().read(this);
  }

  /** The value of a tensor with one element. */
  async item(): Promise<number> {
    if (this.size !== 1)
      fail("item", `the tensor has ${this.size} elements, shape [${this.shape.join(", ")}]; one is wanted`);
    return (await this.data())[0]!;
  }

  /** The values as nested arrays; a number for rank 0. */
  async array(): Promise<any> {
    const data = await this.data();
    const nest = (axis: number, offset: number): unknown => {
      if (axis === this.rank) return this.dtype === "bool" ? data[offset] !== 0 : data[offset];
      const step = size(this.shape.slice(axis + 1));
      return Array.from({ length: this.shape[axis]! }, (_, k) => nest(axis + 1, offset + k * step));
    };
    return nest(0, 0);
  }

  /** Gives the memory back now; using the tensor afterwards is an error. */
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

  toString(): string {
    return `Tensor(${this.dtype}[${this.shape.join(", ")}])`;
  }
}

/** Refuses what is no tensor; every operator looks at its inputs first. */
export function checkTensor(operator: string, x: unknown, what = "the input"): asserts x is Tensor {
  check(x instanceof Tensor, operator, () => `${what} is a tensor, got ${show(x)}`);
}

/** A graph node: the value of `op` on `inputs`. Operators call it after checking their arguments. */
export function node(op: Op, inputs: readonly Tensor[], attrs: unknown, shape: Shape, dtype: DType): Tensor {
  for (const input of inputs) {
    if (input.source.kind === "disposed") fail(op.name, "an input was disposed of; keep a tensor until its last use");
  }
  checkShape(op.name, shape);
  return new Tensor(shape, dtype, { kind: "op", op, inputs, attrs });
}
