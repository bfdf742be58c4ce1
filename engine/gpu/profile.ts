/** Time of every kernel, from timestamp queries. */
import { VoxgradError } from "../core/errors.ts";
import { type Device, device as openDevice } from "./device.ts";

/** One kernel, summed over its dispatches. */
export interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  readonly milliseconds: number;
}

export interface Profile<T> {
  readonly result: T;
  /** Largest share first. */
  readonly kernels: readonly KernelTime[];
  readonly milliseconds: number;
}

interface Recording {
  readonly names: string[];
  readonly times: Promise<BigUint64Array>;
}

/** What a profiled submission reports to; null outside profile(). */
let recordings: Recording[] | null = null;
export const isProfiling = (): boolean => recordings !== null;

/** Encodes each dispatch in a pass of its own between two timestamps. */
export function encodeTimed(
  device: Device,
  names: readonly string[],
  dispatch: (pass: GPUComputePassEncoder, k: number) => void,
): void {
  const { gpu } = device;
  const set = gpu.createQuerySet({ type: "timestamp", count: 2 * names.length });
  const bytes = 16 * names.length;
  const resolved = gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const readable = gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = gpu.createCommandEncoder();
  names.forEach((_, k) => {
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet: set, beginningOfPassWriteIndex: 2 * k, endOfPassWriteIndex: 2 * k + 1 },
    });
    dispatch(pass, k);
    pass.end();
  });
  encoder.resolveQuerySet(set, 0, 2 * names.length, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readable, 0, bytes);
  gpu.queue.submit([encoder.finish()]);
  const times = readable.mapAsync(GPUMapMode.READ).then(() => {
    const copy = new BigUint64Array(readable.getMappedRange().slice(0));
    for (const resource of [set, resolved, readable]) resource.destroy();
    return copy;
  });
  recordings!.push({ names: [...names], times });
}

/**
 * Runs f and measures the kernels of all that it evaluates. Kernels run one by one meanwhile, so the whole takes longer.
 *
 * @throws VoxgradError where the adapter has no timestamp queries
 * @example console.table((await profile(() => step(params, x))).kernels);
 */
export async function profile<T>(f: () => Promise<T>): Promise<Profile<T>> {
  const device = await openDevice();
  if (!device.target.features.has("timestamp-query"))
    throw new VoxgradError(`profile: ${device.info.name} has no timestamp queries`);
  if (recordings) throw new VoxgradError("profile: another profile is being taken");
  recordings = [];
  try {
    const result = await f();
    const table = new Map<string, { dispatches: number; milliseconds: number }>();
    for (const { names, times } of recordings) {
      const stamps = await times;
      names.forEach((name, k) => {
        const row = table.get(name) ?? { dispatches: 0, milliseconds: 0 };
        row.dispatches++;
        row.milliseconds += Number(stamps[2 * k + 1]! - stamps[2 * k]!) / 1e6;
        table.set(name, row);
      });
    }
    const kernels = [...table]
      .map(([kernel, row]) => ({ kernel, ...row }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
    return { result, kernels, milliseconds: kernels.reduce((sum, k) => sum + k.milliseconds, 0) };
  } finally {
    recordings = null;
  }
}
