/** A scheduled graph with its pipelines; a run is one command encoder and one submit. */
import type { TypedArray } from "../core/dtype.ts";
import { LruCache } from "../core/lru_cache.ts";
import {
  allocateBuffer,
  bindGroupOf,
  countArena,
  type Device,
  type DispatchInfo,
  pipelineFor,
  releaseBuffer,
  Storage,
  timedEncoder,
  writeBuffer,
} from "../gpu/mod.ts";
import { checkLimits, checkMemory } from "./limits.ts";
import type { Graph } from "./graph/lower.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import { planProgram } from "./plan_program.ts";
import { isRepetition, type Place, type Repetition, type Schedule, type Step } from "./schedule.ts";

/** What a program consists of and what a call costs. */
export interface ProgramInfo {
  /** Kernels run by a call; each step of a loop counts. */
  readonly dispatches: number;
  readonly pipelines: number;
  /** Bytes of temporaries, planned before the first run. */
  readonly arenaBytes: number;
  /** Including arguments and outputs. */
  readonly peakBytes: number;
  /** Kernel names in order; those of a loop once, whatever its length. */
  readonly kernels: readonly string[];
}

interface Command {
  readonly step: Step;
  readonly pipeline: GPUComputePipeline;
  /** Bind groups by the buffers they bind; few, since buffers at most alternate. */
  readonly groups: LruCache<string, GPUBindGroup>;
}

/** Commands that run several times. */
interface Passes {
  readonly repetition: Repetition;
  readonly commands: readonly (Command | Passes)[];
}

const singleCommands = (list: readonly (Command | Passes)[]): Command[] =>
  list.flatMap((item) => ("repetition" in item ? singleCommands(item.commands) : [item]));

const countDispatches = (list: readonly (Command | Passes)[]): number =>
  list.reduce((n, item) => n + ("repetition" in item ? item.repetition.count * countDispatches(item.commands) : 1), 0);

/** A command, and the buffers that it binds in this pass. */
interface Dispatched {
  readonly command: Command;
  readonly group: GPUBindGroup;
}

/**
 * Dispatches of a program with loops that go into one submission: systems stop a submission that takes seconds.
 */
const MOST_DISPATCHES = 256;

/** Maximum submissions in flight before a call waits: keeps the device busy while bounding memory. */
const IN_FLIGHT = 2;
/** Combinations of buffers that are remembered. */
const KEPT = 16;

const bufferIds = new WeakMap<GPUBuffer, number>();
let nextBufferId = 0;
function idOf(buffer: GPUBuffer): number {
  let id = bufferIds.get(buffer);
  if (id === undefined) bufferIds.set(buffer, id = nextBufferId++);
  return id;
}
const keyOf = (buffers: readonly GPUBuffer[]): string => buffers.map(idOf).join();

/** The memory of a call. */
interface Bindings {
  /** Of leaves and outputs, as `Program.#places` has them. */
  readonly given: GPUBuffer[];
  readonly arena: readonly GPUBuffer[];
}

const inFlight = new WeakMap<GPUDevice, Promise<unknown>[]>();
/** Waits until few submissions are in flight. */
async function throttle(device: Device): Promise<void> {
  let list = inFlight.get(device.gpu);
  if (!list) inFlight.set(device.gpu, list = []);
  while (list.length >= IN_FLIGHT) await list.shift();
  device.check();
}

function dispatchInfo({ step, pipeline }: Command): DispatchInfo {
  const bytes = [...step.reads, ...step.writes].reduce((sum, bound) => sum + bound.bytes, 0);
  const { name, flops = 0, matrix = false } = step.kernel;
  return { kernel: name, pipeline, bytes, flops, matrix, work: step.choice?.key };
}

/** Describes a submission for messages: its kernels, or the first few. */
function describe(names: readonly string[]): string {
  if (names.length === 1) return `the kernel ${names[0]}`;
  const some = [...new Set(names)].slice(0, 4).join(", ");
  return `a program of ${names.length} kernels (${some}${new Set(names).size > 4 ? ", ..." : ""})`;
}

export class Program {
  readonly info: ProgramInfo;
  readonly #device: Device;
  readonly #schedule: Schedule;
  readonly #plan: MemoryPlan;
  readonly #commands: readonly (Command | Passes)[];
  readonly #what: string;
  readonly #loops: boolean;
  /** The places of leaves, then those of outputs. */
  readonly #places: { readonly leaves: readonly Place[]; readonly outputs: readonly Place[] };
  /** The dispatches of a call without loops, by the buffers of its leaves, outputs and temporaries. */
  readonly #sequences = new LruCache<string, readonly Dispatched[]>(KEPT);
  /** Compiled programs keep it between calls; null: taken from the pool for each call. */
  #arena: GPUBuffer[] | null;
  readonly #hostInputs = new Map<number, GPUBuffer>();
  #proven = false;

  private constructor(
    device: Device,
    plan: MemoryPlan,
    scheduled: Schedule,
    commands: readonly (Command | Passes)[],
    keepsArena: boolean,
  ) {
    this.#device = device;
    this.#schedule = scheduled;
    this.#plan = plan;
    this.#commands = commands;
    this.#loops = commands.some((item) => "repetition" in item);
    this.#places = {
      leaves: scheduled.places.filter((p) => p.leaf !== null),
      outputs: [...new Set(scheduled.outputs)],
    };
    this.#arena = null;
    if (keepsArena) {
      device.submit(`allocating ${plan.arenaBytes} bytes for temporaries`, () => (this.#arena = this.#allocateArena()));
      countArena(plan.arenaBytes);
    }
    const single = singleCommands(commands);
    this.info = {
      dispatches: countDispatches(commands),
      pipelines: new Set(single.map((c) => c.pipeline)).size,
      arenaBytes: plan.arenaBytes,
      peakBytes: plan.peakBytes,
      kernels: single.map((c) => c.step.kernel.name),
    };
    this.#what = describe(this.info.kernels);
  }

  /** Schedules, plans and compiles; does not run. */
  static async build(
    device: Device,
    graph: Graph,
    options: { donated?: ReadonlySet<number>; keepsArena: boolean },
  ): Promise<Program> {
    const { schedule: scheduled, memory: plan } = planProgram(graph, device.target, options.donated);
    checkLimits(scheduled, device);
    checkMemory(scheduled, plan, device);
    const commandsOf = (steps: Schedule["steps"]): Promise<(Command | Passes)[]> =>
      Promise.all(
        steps.map(async (step): Promise<Command | Passes> =>
          isRepetition(step)
            ? { repetition: step, commands: await commandsOf(step.steps) }
            : { step, pipeline: await pipelineFor(device, step.kernel), groups: new LruCache(KEPT) }
        ),
      );
    const commands = await commandsOf(scheduled.steps);
    const program = new Program(device, plan, scheduled, commands, options.keepsArena);
    await device.settled();
    device.check();
    return program;
  }

  /** Whether an output reuses the memory of a leaf. */
  overwrites(leaf: number): boolean {
    return this.#schedule.inPlace.has(leaf);
  }

  /** Whether an output is an unmodified leaf. */
  passes(leaf: number): boolean {
    return this.#schedule.outputs.some((place) => place.leaf === leaf && !this.#schedule.inPlace.has(leaf));
  }

  /**
   * Runs on leaves in device memory or host values; the caller owns the returned storages. Calls `begin` when the
   * device may start to write.
   */
  async run(leaves: readonly (Storage | TypedArray)[], begin: () => void = () => {}): Promise<Storage[]> {
    const device = this.#device;
    // The tensors may be disposed of while this waits.
    const held = leaves.flatMap((leaf) => (leaf instanceof Storage ? [leaf.retain()] : []));
    const owned = new Map<Place, Storage>();
    try {
      await throttle(device);
      this.#start(leaves, owned, begin);
      // After the first run, later errors reject the next read instead.
      if (!this.#proven) {
        await device.settled();
        device.check();
        this.#proven = true;
      }
    } catch (error) {
      for (const storage of owned.values()) storage.release();
      throw error;
    } finally {
      for (const storage of held) storage.release();
    }
    // An output with several names is retained once per name.
    const seen = new Set<Place>();
    return this.#schedule.outputs.map((place) => {
      const storage = owned.get(place)!;
      if (seen.has(place)) storage.retain();
      seen.add(place);
      return storage;
    });
  }

  /** Allocates all memory, storing outputs in `owned`, and submits. */
  #start(leaves: readonly (Storage | TypedArray)[], owned: Map<Place, Storage>, begin: () => void): void {
    const device = this.#device;
    const bindings: { given: GPUBuffer[]; arena: readonly GPUBuffer[] } = { given: [], arena: [] };
    const prepareAndSubmit = (): void => {
      const borrowed: GPUBuffer[] = [];
      try {
        for (const place of this.#places.leaves) {
          const leaf = leaves[place.leaf!];
          bindings.given.push(leaf instanceof Storage ? leaf.buffer : this.#writeInput(place, leaf));
        }
        for (const place of this.#places.outputs) {
          const storage = place.leaf !== null
            ? (leaves[place.leaf] as Storage).retain()
            : new Storage(device, allocateBuffer(device, place.bytes, place.label));
          owned.set(place, storage);
          bindings.given.push(storage.buffer);
        }
        bindings.arena = this.#arena ?? this.#allocateArena(borrowed);
        begin();
        this.#submit(bindings);
      } finally {
        borrowed.forEach(releaseBuffer);
        if (!this.#arena) this.#releaseHostInputs();
      }
    };
    if (this.#commands.length === 0) prepareAndSubmit();
    else device.submit(this.#what, prepareAndSubmit, () => this.#locate(this.#byPlace(bindings)));
  }

  /** Releases the arena; the program cannot run afterwards. */
  dispose(): void {
    if (this.#device.gone) return;
    if (this.#arena) countArena(-this.#plan.arenaBytes);
    this.#arena?.forEach(releaseBuffer);
    this.#arena = null;
    this.#releaseHostInputs();
  }

  #releaseHostInputs(): void {
    for (const buffer of this.#hostInputs.values()) releaseBuffer(buffer);
    this.#hostInputs.clear();
  }

  /** Allocates the arena buffers. On failure, those already allocated are in `slots`. */
  #allocateArena(slots: GPUBuffer[] = []): GPUBuffer[] {
    this.#plan.slots.forEach((bytes, k) => slots.push(allocateBuffer(this.#device, bytes, `arena slot ${k}`)));
    return slots;
  }

  #writeInput(place: Place, data: TypedArray): GPUBuffer {
    let buffer = this.#hostInputs.get(place.leaf!);
    if (!buffer) this.#hostInputs.set(place.leaf!, buffer = allocateBuffer(this.#device, place.bytes, place.label));
    writeBuffer(this.#device, buffer, data, place.dtype);
    return buffer;
  }

  #byPlace({ given, arena }: Bindings): Map<Place, GPUBuffer> {
    const { leaves, outputs } = this.#places;
    const buffers = new Map([...leaves, ...outputs].map((place, k) => [place, given[k]]));
    for (const [place, slot] of this.#plan.slotOf) buffers.set(place, arena[slot]);
    return buffers;
  }

  /** The dispatches of a call, in order. */
  #dispatches(bindings: Bindings): Iterable<Dispatched> {
    if (this.#loops) return this.#sequence(this.#commands, this.#byPlace(bindings));
    const key = keyOf([...bindings.given, ...bindings.arena]);
    let list = this.#sequences.get(key);
    if (!list) this.#sequences.set(key, list = [...this.#sequence(this.#commands, this.#byPlace(bindings))]);
    return list;
  }

  /** The same from the buffers of all places. The buffers of carried values change as it goes on. */
  *#sequence(commands: readonly (Command | Passes)[], buffers: Map<Place, GPUBuffer>): Generator<Dispatched> {
    for (const item of commands) {
      if (!("repetition" in item)) {
        yield { command: item, group: this.#bindGroup(item, buffers) };
        continue;
      }
      const { count, carries } = item.repetition;
      for (const { before, initial } of carries) buffers.set(before, buffers.get(initial)!);
      for (let left = count - 1; left >= 0; left--) {
        for (const { after, result, spare } of carries) {
          buffers.set(after, buffers.get(left % 2 === 0 ? result : spare!)!);
        }
        yield* this.#sequence(item.commands, buffers);
        for (const { before, after } of carries) buffers.set(before, buffers.get(after)!);
      }
    }
  }

  #submit(bindings: Bindings): void {
    if (this.#commands.length === 0) return;
    const { gpu } = this.#device;
    const dispatch = (pass: GPUComputePassEncoder, { command, group }: Dispatched): void => {
      pass.setPipeline(command.pipeline);
      pass.setBindGroup(0, group);
      const [x, y, z] = command.step.kernel.workgroups;
      pass.dispatchWorkgroups(x, y, z);
    };
    const encodeTimed = timedEncoder();
    const submit = (part: readonly Dispatched[]): void => {
      if (encodeTimed) {
        const infos = part.map(({ command }) => dispatchInfo(command));
        return encodeTimed(this.#device, infos, (pass, k) => dispatch(pass, part[k]));
      }
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const each of part) dispatch(pass, each);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
    };
    const most = this.#loops ? MOST_DISPATCHES : Infinity;
    let part: Dispatched[] = [];
    for (const each of this.#dispatches(bindings)) {
      if (part.push(each) < most) continue;
      submit(part);
      part = [];
    }
    if (part.length > 0) submit(part);
    // A lost device never resolves this; the next check reports the loss.
    inFlight.get(gpu)!.push(gpu.queue.onSubmittedWorkDone().catch(() => undefined));
  }

  /** After a failed submission: finds the kernel that fails on its own, with its buffers. */
  async #locate(buffers: ReadonlyMap<Place, GPUBuffer>): Promise<string> {
    const { gpu } = this.#device;
    for (const command of singleCommands(this.#commands)) {
      gpu.pushErrorScope("validation");
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(command.pipeline);
      pass.setBindGroup(0, this.#bindGroup(command, buffers));
      pass.dispatchWorkgroups(...command.step.kernel.workgroups);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
      if (await gpu.popErrorScope()) return `the kernel ${command.step.kernel.name}`;
    }
    return this.#what;
  }

  #bindGroup({ step, pipeline, groups }: Command, buffers: ReadonlyMap<Place, GPUBuffer>): GPUBindGroup {
    // Bound by exact size because arena slots may be larger, and kernels may use arrayLength.
    const bound = [...step.reads, ...step.writes].map(({ place, offset, bytes }) => ({
      buffer: buffers.get(place)!,
      offset,
      size: bytes,
    }));
    const key = keyOf(bound.map(({ buffer }) => buffer));
    let group = groups.get(key);
    if (!group) groups.set(key, group = bindGroupOf(this.#device, pipeline, step.kernel, bound));
    return group;
  }
}
