import { setImmediate as immediate, setTimeout as later } from "node:timers";

/** For this long a wait is polled without a pause, so that short programs return immediately. */
const SPIN_MS = 0.3;

/** The functions of Dawn that begin a wait. */
const WAITS: Readonly<Record<string, readonly string[]>> = {
  GPUAdapter: ["requestDevice"],
  GPUBuffer: ["mapAsync"],
  GPUDevice: ["createComputePipelineAsync", "createRenderPipelineAsync", "popErrorScope"],
  GPUQueue: ["onSubmittedWorkDone"],
  GPUShaderModule: ["getCompilationInfo"],
};

type Wait = (...args: unknown[]) => unknown;

let installed = false;
let polling = false;
let since = 0;

/**
 * Slows the polling of Dawn's Node binding to once per millisecond. While the binding waits for a device, it calls
 * itself through the global `setImmediate` without a pause, which occupies a core: on a CPU adapter that core is
 * missing for the kernels. The global is another one only while Dawn's own functions run, so no one else sees it.
 */
export async function slowDawnPolling(): Promise<void> {
  if (installed) return;
  installed = true;
  const { globals } = await import("webgpu");
  for (const [name, waits] of Object.entries(WAITS)) {
    const { prototype } = (globals as unknown as Record<string, { prototype: Record<string, Wait> }>)[name];
    for (const wait of waits) {
      const own = prototype[wait];
      prototype[wait] = function (...args) {
        return inDawn(() => own.apply(this, args));
      };
    }
  }
}

/** Calls a function of Dawn, for which `setImmediate` is `pollSlowly`. */
function inDawn<T>(call: () => T): T {
  const host = globalThis.setImmediate;
  globalThis.setImmediate = pollSlowly as typeof setImmediate;
  try {
    return call();
  } finally {
    globalThis.setImmediate = host;
  }
}

function pollSlowly(poll: () => void, ...args: unknown[]): unknown {
  if (!isNative(poll)) return immediate(poll as Wait, ...args);
  // A call from inside a poll continues its wait; any other starts one.
  if (!polling) since = performance.now();
  const run = (): void => {
    polling = true;
    try {
      inDawn(poll);
    } finally {
      polling = false;
    }
  };
  return performance.now() - since < SPIN_MS ? immediate(run) : later(run, 1);
}

function isNative(f: () => void): boolean {
  return typeof f === "function" && f.name === "" && Function.prototype.toString.call(f).includes("[native code]");
}
