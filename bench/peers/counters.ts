/** Counts the WebGPU calls of any engine. */
import type { Facts } from "./item.ts";

/** When and how often things happened since `watch`. */
class Counters {
  /** Submits with dispatches; copies for reading back are excluded. */
  submits = 0;
  dispatches = 0;
  buffers = 0;
  /** Buffers mapped to be read, and how many of them before the last submit that dispatches. */
  reads = 0;
  readsBefore = 0;
  /** performance.now() when the engine first waited for the device, after `begin`; Infinity before. */
  firstWait = Infinity;
  #watching = false;

  /** Starts a call; returns the time. */
  begin(): number {
    this.firstWait = Infinity;
    return performance.now();
  }

  /** Wraps WebGPU's own functions. Makes them global where they are not, as in Node: peers expect a browser. */
  async watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    if (!("GPUQueue" in globalThis)) Object.assign(globalThis, (await import("webgpu")).globals);
    let submitted = 0;
    wrap(GPUQueue.prototype, "submit", () => {
      if (this.dispatches > submitted) {
        this.submits++;
        this.readsBefore = this.reads;
      }
      submitted = this.dispatches;
    });
    wrap(GPUComputePassEncoder.prototype, "dispatchWorkgroups", () => this.dispatches++);
    wrap(GPUDevice.prototype, "createBuffer", () => this.buffers++);
    const note = (): number => (this.firstWait = Math.min(this.firstWait, performance.now()));
    wrap(GPUBuffer.prototype, "mapAsync", () => {
      this.reads++;
      note();
    });
    wrap(GPUQueue.prototype, "onSubmittedWorkDone", note);
  }
}

function wrap<T extends object>(prototype: T, name: keyof T, after: () => void): void {
  const own = prototype[name] as (...args: unknown[]) => unknown;
  prototype[name] = function (this: T, ...args: unknown[]): unknown {
    const result = own.apply(this, args);
    after();
    return result;
  } as T[keyof T];
}

export const counters = new Counters();

/** Counts per call for the `count` calls made by f, and the result of f. */
export async function countedFrom<T>(f: () => Promise<T>, count = 1): Promise<{ result: T; counted: Facts }> {
  const { submits, dispatches, buffers } = counters;
  const result = await f();
  const counted = {
    submits: (counters.submits - submits) / count,
    dispatches: (counters.dispatches - dispatches) / count,
    buffers: (counters.buffers - buffers) / count,
  };
  return { result, counted };
}
