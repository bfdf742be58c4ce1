/** For this long a wait is polled without a pause, so that short programs return immediately. */
const SPIN_MS = 0.3;

let installed = false;

/**
 * Slows the polling of Dawn's Node binding to once per millisecond. While the binding waits for a device, it calls
 * itself through the global `setImmediate` without a pause, which occupies a core: on a CPU adapter that core is
 * missing for the kernels. Only unnamed native functions, such as those of the binding, are delayed.
 */
export function slowDawnPolling(): void {
  if (installed) return;
  installed = true;
  const immediate = globalThis.setImmediate as (task: () => void, ...args: unknown[]) => unknown;
  let polling = false;
  let since = 0;
  const slowed = (poll: () => void, ...args: unknown[]): unknown => {
    if (!isNative(poll)) return immediate(poll, ...args);
    // A call from inside a poll continues its wait; any other starts one.
    if (!polling) since = performance.now();
    const run = (): void => {
      polling = true;
      try {
        poll();
      } finally {
        polling = false;
      }
    };
    return performance.now() - since < SPIN_MS ? immediate(run) : setTimeout(run, 1);
  };
  globalThis.setImmediate = Object.assign(slowed, immediate) as unknown as typeof setImmediate;
}

function isNative(f: () => void): boolean {
  return typeof f === "function" && f.name === "" && Function.prototype.toString.call(f).includes("[native code]");
}
