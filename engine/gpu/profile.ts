/** Kernel times from timestamp queries. */
import { VoxgradError } from "../core/errors.ts";
import { type Device, device as openDevice } from "./device.ts";
import { bufferUsage, mapMode } from "./flags.ts";
import { type DispatchCost, kernelTable, type KernelTime, type Roofs } from "./kernel_table.ts";
import { type DispatchInfo, setTimedEncoder } from "./timing.ts";

/** A dispatch that ran. */
export interface DispatchTime extends Omit<DispatchInfo, "pipeline"> {
  /** Milliseconds since the start of the first dispatch of the profile. */
  readonly start: number;
  readonly milliseconds: number;
}

export interface Profile<T> {
  readonly result: T;
  /** Sorted by time, longest first. */
  readonly kernels: readonly KernelTime[];
  /** All dispatches in order. */
  readonly dispatches: readonly DispatchTime[];
  /** Total time of all kernels. */
  readonly milliseconds: number;
  /**
   * A table of kernels with their rates, one per line; if the roofline peaks are given, beside the time that each would
   * take at the nearer one, with the sum of these floors.
   */
  table(roofs?: Roofs): string;
  /** The dispatches as JSON for chrome://tracing and ui.perfetto.dev. */
  trace(): string;
}

interface Sum {
  dispatches: number;
  milliseconds: number;
  bytes: number;
  flops: number;
  /** The different costs, with the number of dispatches of each. */
  readonly costs: Map<string, DispatchCost & { dispatches: number }>;
  /** Time of first dispatches in excess of the mean of later equal ones. */
  firstExcess: number;
}

/** Dispatches of one pipeline with the same number of bytes. */
interface Equal {
  readonly first: number;
  later: number;
  count: number;
  excess: number;
}

/** Collects the times of submissions: sums per kernel, and the most recent dispatches. */
export class Recorder {
  readonly #most: number;
  readonly #sums = new Map<string, Sum>();
  readonly #equals = new WeakMap<GPUComputePipeline, Map<number, Equal>>();
  readonly #submissions: DispatchTime[][] = [];
  #arrived: Promise<void> = Promise.resolve();
  #fault: unknown;
  #zero: bigint | null = null;
  #kept = 0;
  /** Total number of dispatches. */
  count = 0;
  /** Milliseconds during which at least one kernel ran. */
  covered = 0;
  #coveredUntil = 0;

  /** @param most number of individual dispatches to keep; older ones are only summed */
  constructor(most: number) {
    this.#most = most;
  }

  add(dispatches: readonly DispatchInfo[], times: Promise<BigUint64Array>): void {
    // A lost device reports no times; later submissions still count.
    const failed = (error: unknown): void => void (this.#fault ??= error);
    times.catch(failed);
    this.#arrived = this.#arrived.then(() => times).then((stamps) => this.#take(dispatches, stamps), failed);
  }

  #take(infos: readonly DispatchInfo[], stamps: BigUint64Array): void {
    const dispatches = infos.map(({ pipeline, ...info }, k): DispatchTime => {
      const [begin, end] = [stamps[2 * k], stamps[2 * k + 1]];
      this.#zero ??= begin;
      const start = Number(begin - this.#zero) / 1e6;
      // Clocks of some drivers occasionally step back.
      const milliseconds = Math.max(0, Number(end - begin) / 1e6);
      const sum = this.#sumOf(info.kernel);
      sum.dispatches++;
      sum.milliseconds += milliseconds;
      sum.bytes += info.bytes;
      sum.flops += info.flops;
      sum.firstExcess += this.#excess(pipeline, info.bytes, milliseconds);
      const { bytes, flops, matrix } = info;
      const key = `${bytes} ${flops} ${matrix}`;
      const cost = sum.costs.get(key);
      if (cost) cost.dispatches++;
      else sum.costs.set(key, { bytes, flops, matrix, dispatches: 1 });
      // Kernels start in order, and may overlap.
      this.covered += Math.max(0, start + milliseconds - Math.max(start, this.#coveredUntil));
      this.#coveredUntil = Math.max(this.#coveredUntil, start + milliseconds);
      return { ...info, start, milliseconds };
    });
    this.count += dispatches.length;
    this.#kept += dispatches.length;
    this.#submissions.push(dispatches);
    while (this.#kept > this.#most) this.#kept -= this.#submissions.shift()!.length;
  }

  #sumOf(kernel: string): Sum {
    let sum = this.#sums.get(kernel);
    if (!sum) {
      sum = { dispatches: 0, milliseconds: 0, bytes: 0, flops: 0, costs: new Map(), firstExcess: 0 };
      this.#sums.set(kernel, sum);
    }
    return sum;
  }

  /** Change in the excess time of the first of equal dispatches, due to this dispatch. */
  #excess(pipeline: GPUComputePipeline, bytes: number, milliseconds: number): number {
    let sizes = this.#equals.get(pipeline);
    if (!sizes) this.#equals.set(pipeline, sizes = new Map());
    const equal = sizes.get(bytes);
    if (!equal) {
      sizes.set(bytes, { first: milliseconds, later: 0, count: 0, excess: 0 });
      return 0;
    }
    equal.later += milliseconds;
    equal.count++;
    const before = equal.excess;
    equal.excess = Math.max(0, equal.first - equal.later / equal.count);
    return equal.excess - before;
  }

  /** Waits for the times of everything submitted; rejects if some are lost. */
  async settled(): Promise<void> {
    await this.#arrived;
    if (this.#fault) throw this.#fault;
  }

  /** The most recent dispatches, in order. */
  dispatches(): DispatchTime[] {
    return this.#submissions.flat();
  }

  kernels(): KernelTime[] {
    return this.#times(() => 0);
  }

  /**
   * Kernel times without the excess of first dispatches over later equal ones, since some drivers compile then; the
   * excess is listed as a separate row.
   */
  warmKernels(): KernelTime[] {
    const milliseconds = [...this.#sums.values()].reduce((all, sum) => all + sum.firstExcess, 0);
    const kernel = "(compiling at first dispatches)";
    const excess: KernelTime = { kernel, dispatches: 0, milliseconds, bytes: 0, flops: 0, costs: [] };
    return longestFirst([...this.#times((sum) => sum.firstExcess), excess]);
  }

  #times(less: (sum: Sum) => number): KernelTime[] {
    return longestFirst([...this.#sums].map(([kernel, sum]): KernelTime => {
      const { firstExcess: _, costs, ...rest } = sum;
      return { kernel, ...rest, milliseconds: sum.milliseconds - less(sum), costs: [...costs.values()] };
    }));
  }
}

const longestFirst = (kernels: KernelTime[]): KernelTime[] => kernels.sort((a, b) => b.milliseconds - a.milliseconds);

/** Recorders that receive the times of submissions. */
const recorders = new Set<Recorder>();

/** Starts or stops recording all submissions. */
export function record(recorder: Recorder, on: boolean): void {
  if (on) recorders.add(recorder);
  else recorders.delete(recorder);
  setTimedEncoder(recorders.size > 0 ? encodeTimed : null);
}

/** Throws if the adapter does not support timestamps. */
export function checkTimestamps(device: Device, who: string): void {
  if (device.target.features.has("timestamp-query")) return;
  throw new VoxgradError(
    `${who}: ${device.info.name} cannot tell how long kernels take: it lacks the WebGPU feature timestamp-query`,
  );
}

/** A query set holds 4096 timestamps, two per dispatch. */
const MOST = 2048;

/** Encodes each dispatch in its own pass between two timestamps, and submits. */
function encodeTimed(
  device: Device,
  dispatches: readonly DispatchInfo[],
  encode: (pass: GPUComputePassEncoder, k: number) => void,
): void {
  for (let from = 0; from < dispatches.length; from += MOST) {
    const part = dispatches.slice(from, from + MOST);
    const times = encodePart(device.gpu, part.length, (pass, k) => encode(pass, from + k));
    for (const recorder of recorders) recorder.add(part, times);
  }
}

/** Start and end times of each dispatch, in nanoseconds. */
export function encodePart(
  gpu: GPUDevice,
  count: number,
  encode: (pass: GPUComputePassEncoder, k: number) => void,
): Promise<BigUint64Array> {
  const set = gpu.createQuerySet({ type: "timestamp", count: 2 * count });
  const bytes = 16 * count;
  const resolved = gpu.createBuffer({ size: bytes, usage: bufferUsage.QUERY_RESOLVE | bufferUsage.COPY_SRC });
  const readable = gpu.createBuffer({ size: bytes, usage: bufferUsage.MAP_READ | bufferUsage.COPY_DST });
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
  return readable.mapAsync(mapMode.READ).then(() => {
    const copy = new BigUint64Array(readable.getMappedRange().slice(0));
    for (const resource of [set, resolved, readable]) resource.destroy();
    return copy;
  });
}

/** The active `profile` call; the profile of a whole run continues in parallel. */
let taken: Recorder | null = null;

/**
 * Runs f and measures the kernels of everything it evaluates. Kernels run one at a time meanwhile, so f takes longer.
 *
 * @throws VoxgradError if the adapter has no timestamp queries
 * @example
 * ```ts
 * import { measureRoofs, profile, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [512, 512] });
 * const measured = await profile(() => x.matmul(x).data());
 * console.log(measured.table(await measureRoofs()));
 * ```
 */
export async function profile<T>(f: () => Promise<T>): Promise<Profile<T>> {
  const device = await openDevice();
  checkTimestamps(device, "profile");
  if (taken) throw new VoxgradError("profile: another profile is being taken");
  taken = new Recorder(Infinity);
  const recorder = taken;
  record(recorder, true);
  try {
    const result = await f();
    await recorder.settled();
    const [kernels, dispatches] = [recorder.kernels(), recorder.dispatches()];
    return {
      result,
      kernels,
      dispatches,
      milliseconds: dispatches.reduce((sum, d) => sum + d.milliseconds, 0),
      table: (roofs) => kernelTable(kernels, roofs),
      trace: () => trace(dispatches, device.info.name),
    };
  } finally {
    record(recorder, false);
    taken = null;
  }
}

/** Trace Event Format: complete events in microseconds. */
export function trace(dispatches: readonly DispatchTime[], device: string): string {
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
