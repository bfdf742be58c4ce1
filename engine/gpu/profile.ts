/** Time of every kernel, from timestamp queries. */
import { VoxgradError } from "../core/errors.ts";
import { type Device, device as openDevice } from "./device.ts";

/** What is known of a dispatch before it runs. */
export interface DispatchInfo {
  readonly kernel: string;
  /** Of the buffers that it binds: what it reads and writes if it touches everything once. */
  readonly bytes: number;
  /** Floating-point operations; an elementwise operator counts one an element. */
  readonly flops: number;
}

/** A dispatch that ran. */
export interface DispatchTime extends DispatchInfo {
  /** Milliseconds since the first dispatch of the profile began. */
  readonly start: number;
  readonly milliseconds: number;
}

/** One kernel, summed over its dispatches. */
export interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  readonly milliseconds: number;
  readonly bytes: number;
  readonly flops: number;
}

export interface Profile<T> {
  readonly result: T;
  /** Largest share of the time first. */
  readonly kernels: readonly KernelTime[];
  /** All dispatches in order. */
  readonly dispatches: readonly DispatchTime[];
  /** Time of all kernels. */
  readonly milliseconds: number;
  /** The kernels as text, one a line, with their rates. */
  table(): string;
  /** The dispatches as JSON for chrome://tracing and ui.perfetto.dev. */
  trace(): string;
}

interface Recording {
  readonly dispatches: readonly DispatchInfo[];
  readonly times: Promise<BigUint64Array>;
}

/** What a profiled submission reports to; null outside profile(). */
let recordings: Recording[] | null = null;
export const isProfiling = (): boolean => recordings !== null;

/** A query set holds 4096 stamps, two a dispatch. */
const MOST = 2048;

/** Encodes each dispatch in a pass of its own between two timestamps, and submits. */
export function encodeTimed(
  device: Device,
  dispatches: readonly DispatchInfo[],
  encode: (pass: GPUComputePassEncoder, k: number) => void,
): void {
  for (let from = 0; from < dispatches.length; from += MOST) {
    const part = dispatches.slice(from, from + MOST);
    recordings!.push({
      dispatches: part,
      times: encodePart(device.gpu, part.length, (pass, k) => encode(pass, from + k)),
    });
  }
}

function encodePart(
  gpu: GPUDevice,
  count: number,
  encode: (pass: GPUComputePassEncoder, k: number) => void,
): Promise<BigUint64Array> {
  const set = gpu.createQuerySet({ type: "timestamp", count: 2 * count });
  const bytes = 16 * count;
  const resolved = gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const readable = gpu.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = gpu.createCommandEncoder();
  for (let k = 0; k < count; k++) {
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet: set, beginningOfPassWriteIndex: 2 * k, endOfPassWriteIndex: 2 * k + 1 },
    });
    encode(pass, k);
    pass.end();
  }
  encoder.resolveQuerySet(set, 0, 2 * count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readable, 0, bytes);
  gpu.queue.submit([encoder.finish()]);
  return readable.mapAsync(GPUMapMode.READ).then(() => {
    const copy = new BigUint64Array(readable.getMappedRange().slice(0));
    for (const resource of [set, resolved, readable]) resource.destroy();
    return copy;
  });
}

/**
 * Runs f and measures the kernels of all that it evaluates. Kernels run one by one meanwhile, so the whole takes longer.
 *
 * @throws VoxgradError where the adapter has no timestamp queries
 * @example
 * const measured = await profile(() => step(params, x));
 * print(measured.table());
 * await platform.writeFile("trace.json", measured.trace());
 */
export async function profile<T>(f: () => Promise<T>): Promise<Profile<T>> {
  const device = await openDevice();
  if (!device.target.features.has("timestamp-query"))
    throw new VoxgradError(`profile: ${device.info.name} has no timestamp queries`);
  if (recordings) throw new VoxgradError("profile: another profile is being taken");
  recordings = [];
  try {
    const result = await f();
    const dispatches: DispatchTime[] = [];
    let zero: bigint | null = null;
    for (const { dispatches: infos, times } of recordings) {
      const stamps = await times;
      infos.forEach((info, k) => {
        const [begin, end] = [stamps[2 * k]!, stamps[2 * k + 1]!];
        zero ??= begin;
        dispatches.push({ ...info, start: Number(begin - zero) / 1e6, milliseconds: Number(end - begin) / 1e6 });
      });
    }
    const kernels = sumByKernel(dispatches);
    return {
      result,
      kernels,
      dispatches,
      milliseconds: dispatches.reduce((sum, d) => sum + d.milliseconds, 0),
      table: () => table(kernels),
      trace: () => trace(dispatches, device.info.name),
    };
  } finally {
    recordings = null;
  }
}

function sumByKernel(dispatches: readonly DispatchTime[]): KernelTime[] {
  const rows = new Map<string, { dispatches: number; milliseconds: number; bytes: number; flops: number }>();
  for (const { kernel, milliseconds, bytes, flops } of dispatches) {
    const row = rows.get(kernel) ?? { dispatches: 0, milliseconds: 0, bytes: 0, flops: 0 };
    row.dispatches++;
    row.milliseconds += milliseconds;
    row.bytes += bytes;
    row.flops += flops;
    rows.set(kernel, row);
  }
  return [...rows].map(([kernel, row]) => ({ kernel, ...row })).sort((a, b) => b.milliseconds - a.milliseconds);
}

function table(kernels: readonly KernelTime[]): string {
  const all = kernels.reduce((sum, k) => sum + k.milliseconds, 0);
  // Clocks of some adapters are coarse: a kernel may seem to take no time.
  const rate = (amount: number, ms: number): string => (ms > 0 ? (amount / ms / 1e6).toFixed(2) : "-");
  const rows = kernels.map((k) => [
    k.kernel,
    k.milliseconds.toFixed(3),
    all > 0 ? `${((100 * k.milliseconds) / all).toFixed(1)}%` : "-",
    String(k.dispatches),
    (k.bytes / 1e6).toFixed(3),
    rate(k.bytes, k.milliseconds),
    (k.flops / 1e6).toFixed(3),
    rate(k.flops, k.milliseconds),
  ]);
  const lines = [["kernel", "ms", "share", "dispatches", "MB", "GB/s", "MFLOP", "GFLOP/s"], ...rows];
  const widths = lines[0]!.map((_, c) => Math.max(...lines.map((line) => line[c]!.length)));
  const pad = (cell: string, c: number): string => (c === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[c]!));
  return lines.map((line) => line.map(pad).join("  ")).join("\n");
}

/** Trace Event Format: complete events in microseconds. */
function trace(dispatches: readonly DispatchTime[], device: string): string {
  const events = dispatches.map(({ kernel, start, milliseconds, bytes, flops }) => ({
    name: kernel,
    cat: "kernel",
    ph: "X",
    ts: start * 1000,
    dur: milliseconds * 1000,
    pid: 1,
    tid: 1,
    args: { bytes, flops },
  }));
  const name = { name: "process_name", ph: "M", pid: 1, tid: 1, args: { name: device } };
  return JSON.stringify({ displayTimeUnit: "ms", traceEvents: [name, ...events] });
}
