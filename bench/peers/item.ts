// deno-lint-ignore-file no-explicit-any
/** What is measured: the rows of the table, and what an engine must offer to run them. */
import type * as voxgrad from "../../engine/mod.ts";
import type { Precision, Tensor, TunedKernel } from "../../engine/mod.ts";
import type { Floors } from "../../engine/gpu/mod.ts";

export type Vg = typeof voxgrad;

/** Peers bring their own types, and may not be installed. */
export type Peer = any;

/** Layout of a tensor in an engine with channels last; ours are [N, C, ...space] and [out, in, ...kernel]. */
export type Layout = "plain" | "volume" | "filter";

export interface Input {
  readonly shape: readonly number[];
  /** "spheres": a mask of voxels inside and outside; "grid": sampling points, some slightly outside the image. */
  readonly values?: "normal" | "uniform" | "ones" | "zeros" | "labels" | "spheres" | "grid";
  /** Standard deviation of normal values, largest of uniform ones, number of labels. */
  readonly scale?: number;
  readonly dtype?: "f32" | "i32" | "bool";
  /** Stored in f16 in mixed precision, like activations between layers. */
  readonly half?: boolean;
  readonly layout?: Layout;
}

/** Why a peer cannot run an item. */
export interface Cannot {
  readonly cannot: string;
}

export interface Item {
  readonly name: string;
  readonly inputs: readonly Input[];
  /** Layouts of the outputs, if they are not plain. */
  readonly outputs?: readonly Layout[];
  /** Precision passed to `compile`; default "f32". */
  readonly precision?: Precision;
  /** What a call ends with: an empty queue (default), the first output read back, or all of them. */
  readonly read?: "none" | "first" | "all";
  /** The outputs after the first are the first inputs of the next call. */
  readonly carry?: boolean;
  /** Takes so much memory that an engine frees it before the next one begins. */
  readonly alone?: boolean;
  /**
   * A call (default); JavaScript until it waits for the device; only building the graph; the first call of a new
   * process, with the driver's caches empty ("cold") or filled ("warm").
   */
  readonly measure?: "call" | "script" | "build" | "cold" | "warm";
  /** Target speedup over each peer. */
  readonly goal?: Readonly<Record<string, number>>;
  /** The function of the inputs, as a user of each engine would write it. */
  readonly ours: (vg: Vg) => (...inputs: Tensor[]) => Tensor | Tensor[];
  readonly jax: ((jax: Peer) => (...inputs: Peer[]) => Peer) | Cannot;
  readonly tfjs: ((tf: Peer) => (...inputs: Peer[]) => Peer) | Cannot;
  /** A Python expression: a function of tensors, using torch, F and definitions of torch_child.py. */
  readonly torch: string | Cannot;
}

/** Cost of one call. */
export interface Call {
  readonly milliseconds: number;
  /** From the call until the engine first waits for the device: all work is submitted then. */
  readonly script: number;
}

/** Facts about a call of an item. */
export interface Facts {
  /** Milliseconds of the first call, which builds and compiles. */
  readonly first?: number;
  readonly dispatches?: number;
  readonly submits?: number;
  /** Buffers made during a call. */
  readonly buffers?: number;
  readonly pipelines?: number;
  readonly peakBytes?: number;
  /** Milliseconds of JavaScript in a call, until it waits for the device. */
  readonly script?: number;
  readonly flops?: number;
  readonly bytes?: number;
  /** Milliseconds of all kernels, by timestamps. */
  readonly kernelMs?: number;
  /** Milliseconds of the kernels at the adapter's roofline, by what bounds each. */
  readonly floors?: Floors;
  /** The kernels by share of time, as text. */
  readonly profile?: string;
}

/** A kernel with variants, as `tune` names it. */
export interface Work {
  readonly work: string;
  readonly dispatches: number;
  /** In all dispatches of a call. */
  readonly milliseconds: number;
}

/** An item prepared on an engine, with inputs on the device. */
export interface Ready {
  /** One call, or `count` of them queued in a row; returns the cost of one. */
  call(count?: number): Promise<Call>;
  /** Outputs of the latest call, in our layout. */
  outputs(): Promise<Float32Array[]>;
  /** Milliseconds to build the graph, without the device. */
  build?(): number;
  facts?(): Promise<Facts>;
  /** The works of a call that have variants and take most time, with their milliseconds. */
  slowest?(most: number): Promise<Work[]>;
  /** Times the variants of such a work; later calls take the fastest. */
  tune?(work: string): Promise<TunedKernel>;
  drop(): void;
}

export interface Engine {
  /** Name and version. */
  readonly name: string;
  open(adapter: string): Promise<{ version: string; device: string }>;
  prepare(item: Item, inputs: readonly (Float32Array | Int32Array)[]): Promise<Ready>;
}
