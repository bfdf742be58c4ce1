// deno-lint-ignore-file no-explicit-any
/** What is measured: the rows of the table, and what an engine must offer to run them. */
import type * as voxgrad from "../../engine/mod.ts";
import type { Precision, Tensor } from "../../engine/mod.ts";

export type Vg = typeof voxgrad;

/** The peers bring their own types, and are not there before they are installed. */
export type Peer = any;

/** How an engine that keeps channels last lays a tensor out; ours are [N, C, ...space] and [out, in, ...kernel]. */
export type Layout = "plain" | "volume" | "filter";

export interface Input {
  readonly shape: readonly number[];
  /** "spheres": a mask of voxels inside and outside; "grid": sampling points that reach a little beyond the image. */
  readonly values?: "normal" | "uniform" | "ones" | "zeros" | "labels" | "spheres" | "grid";
  /** Standard deviation of normal values, largest of uniform ones, number of labels. */
  readonly scale?: number;
  readonly dtype?: "f32" | "i32" | "bool";
  /** Lies in f16 in mixed precision, as what one layer gives the next does. */
  readonly half?: boolean;
  readonly layout?: Layout;
}

/** Why a peer has no number. */
export interface Cannot {
  readonly cannot: string;
}

export interface Item {
  readonly name: string;
  readonly inputs: readonly Input[];
  /** Layouts of the outputs, where they are not plain. */
  readonly outputs?: readonly Layout[];
  /** What `compile` is told; default "f32". */
  readonly precision?: Precision;
  /** What a call ends with: an empty queue (default), the first output read back, or all of them. */
  readonly read?: "none" | "first" | "all";
  /** The outputs after the first are the first inputs of the next call. */
  readonly carry?: boolean;
  /**
   * A call (default); JavaScript until it waits for the device; building the graph alone; the first call of a new
   * process, with the
   *  driver's caches empty ("cold") or filled ("warm"). */
  readonly measure?: "call" | "script" | "build" | "cold" | "warm";
  /** How many times as fast as a peer this should be at least. */
  readonly goal?: Readonly<Record<string, number>>;
  /** The function of the inputs, as a user of each engine writes it. */
  readonly ours: (vg: Vg) => (...inputs: Tensor[]) => Tensor | Tensor[];
  readonly jax: ((jax: Peer) => (...inputs: Peer[]) => Peer) | Cannot;
  readonly tfjs: ((tf: Peer) => (...inputs: Peer[]) => Peer) | Cannot;
  /** A Python expression: a function of tensors, with torch, F and what torch_child.py defines. */
  readonly torch: string | Cannot;
}

/** What one call cost. */
export interface Call {
  readonly milliseconds: number;
  /** From the call until the engine first waits for the device: all work is submitted then. */
  readonly script: number;
}

/** What a call of an item is made of. */
export interface Facts {
  /** Milliseconds of the first call, which builds and compiles. */
  readonly first?: number;
  readonly dispatches?: number;
  readonly submits?: number;
  /** Buffers made during a call. */
  readonly buffers?: number;
  readonly pipelines?: number;
  readonly peakBytes?: number;
  readonly flops?: number;
  readonly bytes?: number;
  /** Milliseconds of all kernels, by timestamps. */
  readonly kernelMs?: number;
  /** Milliseconds that the kernels would take at the nearer of the adapter's roofs. */
  readonly leastMs?: number;
  /** The kernels by share of time, as text. */
  readonly profile?: string;
}

/** An item made ready on an engine: inputs on the device. */
export interface Ready {
  /** One call, or `count` of them queued in a row: what one of them costs. */
  call(count?: number): Promise<Call>;
  /** What the latest call gave, in our layout. */
  outputs(): Promise<Float32Array[]>;
  /** Milliseconds to build the graph, without the device. */
  build?(): number;
  facts?(): Promise<Facts>;
  drop(): void;
}

export interface Engine {
  /** Name and version. */
  readonly name: string;
  open(adapter: string): Promise<{ version: string; device: string }>;
  prepare(item: Item, inputs: readonly (Float32Array | Int32Array)[]): Promise<Ready>;
}
