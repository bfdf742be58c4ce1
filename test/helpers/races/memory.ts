/** Memory that invocations share, which finds accesses that nothing orders. */
import { fromHalf, toHalf } from "../../../engine/core/dtype.ts";
import { scalarOf, type Type } from "./types.ts";

export type Kind = "race" | "barrier" | "bounds" | "unwritten";

/** What is wrong with a kernel; ends its run. */
export class Finding extends Error {
  override name = "Finding";
  readonly kind: Kind;

  constructor(kind: Kind, message: string) {
    super(`${kind}: ${message}`);
    this.kind = kind;
  }
}

/** Who accesses memory, and when: accesses of different actors in one epoch of a workgroup are not ordered. */
export interface Clock {
  actor: number;
  group: number;
  epoch: number;
}

/** The last access to an element, or the first of several readers. */
class Accesses {
  readonly actor: Int32Array;
  readonly group: Int32Array;
  readonly epoch: Int32Array;
  readonly line: Int32Array;

  constructor(length: number) {
    [this.actor, this.group, this.epoch, this.line] = [0, 0, 0, 0].map(() => new Int32Array(length).fill(NOBODY)) as [
      Int32Array,
      Int32Array,
      Int32Array,
      Int32Array,
    ];
  }

  set(i: number, { actor, group, epoch }: Clock, line: number): void {
    this.actor[i] = actor;
    this.group[i] = group;
    this.epoch[i] = epoch;
    this.line[i] = line;
  }

  /** Whether an access of someone else is unordered with one now. */
  conflicts(i: number, { actor, group, epoch }: Clock): boolean {
    const own = this.group[i];
    if (own === NOBODY) return false;
    return own !== group || (this.epoch[i] === epoch && this.actor[i] !== actor);
  }

  clear(): void {
    this.group.fill(NOBODY);
  }
}

const NOBODY = -1;
const SEVERAL = -2;

type Element = number | number[];

/** An array in workgroup memory or a buffer. Elements are the unit: kernels do not store single components. */
export class Memory {
  readonly length: number;
  readonly #reads: Accesses;
  readonly #writes: Accesses;
  /** Components of an element, and numbers from one to the next. */
  readonly #width: number;
  readonly #stride: number;
  readonly #view: Float32Array | Int32Array | Uint32Array | Uint16Array;
  /** Whether the numbers are f16. */
  readonly #half: boolean;

  readonly name: string;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly #clock: Clock | null;
  readonly #finds: ReadonlySet<Kind>;

  /**
   * @param clock null for buffers that are only read
   * @param finds which kinds of findings end a run
   */
  constructor(
    name: string,
    type: Type,
    data: Uint8Array<ArrayBuffer>,
    clock: Clock | null,
    finds: ReadonlySet<Kind>,
  ) {
    [this.name, this.data, this.#clock, this.#finds] = [name, data, clock, finds];
    const of = scalarOf(type);
    const Kind = { f32: Float32Array, f16: Uint16Array, i32: Int32Array, u32: Uint32Array }[of as "f32"];
    this.#view = new Kind(data.buffer, data.byteOffset, Math.floor(data.byteLength / Kind.BYTES_PER_ELEMENT));
    this.#half = of === "f16";
    this.#width = type.kind === "vector" ? type.size : 1;
    this.#stride = this.#width === 3 ? 4 : this.#width;
    this.length = Math.floor(this.#view.length / this.#stride);
    this.#reads = new Accesses(clock ? this.length : 0);
    this.#writes = new Accesses(clock ? this.length : 0);
  }

  #get(k: number): number {
    return this.#half ? fromHalf(this.#view[k]) : this.#view[k];
  }

  #set(k: number, value: number): void {
    this.#view[k] = this.#half ? toHalf(value) : value;
  }

  /** Zeros, as a workgroup finds it. */
  clear(): void {
    this.data.fill(0);
    this.#reads.clear();
    this.#writes.clear();
  }

  load(i: number, line: number): Element {
    this.#check(i, line, "reads");
    if (this.#clock) {
      if (this.#writes.conflicts(i, this.#clock)) this.#race(i, line, "reads", this.#writes, "wrote");
      if (this.#finds.has("unwritten") && this.#writes.group[i] === NOBODY) {
        throw new Finding("unwritten", `line ${line} reads ${this.name}[${i}], which nothing has written`);
      }
      this.#note(i, this.#clock, line);
    }
    if (this.#width === 1) return this.#get(i);
    const k = i * this.#stride;
    if (this.#width === 4) return [this.#get(k), this.#get(k + 1), this.#get(k + 2), this.#get(k + 3)];
    return Array.from({ length: this.#width }, (_, c) => this.#get(k + c));
  }

  store(i: number, value: Element, line: number): void {
    this.#check(i, line, "writes");
    if (!this.#clock) throw new Error(`${this.name} is only read`);
    if (this.#writes.conflicts(i, this.#clock)) this.#race(i, line, "writes", this.#writes, "wrote");
    if (this.#reads.conflicts(i, this.#clock)) this.#race(i, line, "writes", this.#reads, "read");
    this.#writes.set(i, this.#clock, line);
    if (typeof value === "number") this.#set(i, value);
    else for (let c = 0; c < this.#width; c++) this.#set(i * this.#stride + c, value[c]);
  }

  atomicLoad(i: number, line: number): Element {
    return this.#update(i, line, (old) => old);
  }

  atomicStore(i: number, line: number, value: number): void {
    this.#update(i, line, () => value);
  }

  atomicMin(i: number, line: number, value: number): Element {
    return this.#update(i, line, (old) => Math.min(old, value));
  }

  atomicMax(i: number, line: number, value: number): Element {
    return this.#update(i, line, (old) => Math.max(old, value));
  }

  atomicAdd(i: number, line: number, value: number): Element {
    return this.#update(i, line, (old) => old + value);
  }

  atomicOr(i: number, line: number, value: number): Element {
    return this.#update(i, line, (old) => old | value);
  }

  /** Atomic accesses do not race with each other, and types keep plain ones away. */
  #update(i: number, line: number, change: (old: number) => number): Element {
    this.#check(i, line, "updates");
    const old = this.#get(i);
    this.#set(i, change(old));
    return old;
  }

  #check(i: number, line: number, does: string): void {
    if (i >= 0 && i < this.length) return;
    throw new Finding("bounds", `line ${line} ${does} ${this.name}[${i}] of ${this.length} elements`);
  }

  /** Remembers a reader, or that there are several. */
  #note(i: number, clock: Clock, line: number): void {
    const { actor, group, epoch } = this.#reads;
    if (group[i] === SEVERAL) return;
    if (group[i] === NOBODY || (group[i] === clock.group && epoch[i] !== clock.epoch)) {
      this.#reads.set(i, clock, line);
    } else if (group[i] !== clock.group) group[i] = SEVERAL;
    else if (actor[i] !== clock.actor) actor[i] = SEVERAL;
  }

  #race(i: number, line: number, does: string, others: Accesses, did: string): void {
    if (!this.#finds.has("race")) return;
    const who = (actor: number): string => (actor === SEVERAL ? "others" : `invocation ${actor}`);
    throw new Finding(
      "race",
      `line ${line}: ${who(this.#clock!.actor)} ${does} ${this.name}[${i}], which ${
        who(others.actor[i])
      } ${did} in line ` +
        `${others.line[i]}, with no barrier between`,
    );
  }
}
