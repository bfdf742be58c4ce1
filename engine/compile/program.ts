/** A scheduled graph with its pipelines: runs with one encoder and one submit. */
import type { TypedArray } from "../core/dtype.ts";
import {
  allocateBuffer,
  countArena,
  type Device,
  type DispatchInfo,
  encodeTimed,
  isProfiling,
  pipelineFor,
  releaseBuffer,
  Storage,
  writeBuffer,
} from "../gpu/mod.ts";
import { checkLimits, checkMemory } from "./limits.ts";
import type { Graph } from "./graph/lower.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import { planProgram } from "./plan_program.ts";
import type { Place, Schedule, Step } from "./schedule.ts";

/** What a program is made of and what a call of it costs. */
export interface ProgramInfo {
  readonly dispatches: number;
  readonly pipelines: number;
  /** Bytes of temporaries, planned before the first run. */
  readonly arenaBytes: number;
  /** With arguments and outputs. */
  readonly peakBytes: number;
  /** Kernels in order, by name. */
  readonly kernels: readonly string[];
}

interface Command {
  readonly step: Step;
  readonly pipeline: GPUComputePipeline;
  /** Bind groups by the buffers they bind; few, since buffers alternate at most. */
  readonly groups: Map<string, GPUBindGroup>;
}

/** Submissions that may be under way before a call waits: enough to keep the device busy, few enough to stay small. */
const IN_FLIGHT = 2;
const GROUPS_KEPT = 4;

const bufferIds = new WeakMap<GPUBuffer, number>();
let nextBufferId = 0;
function idOf(buffer: GPUBuffer): number {
  let id = bufferIds.get(buffer);
  if (id === undefined) bufferIds.set(buffer, id = nextBufferId++);
  return id;
}

const inFlight = new WeakMap<GPUDevice, Promise<unknown>[]>();
/** Waits until few submissions are under way. */
async function throttle(device: Device): Promise<void> {
  let list = inFlight.get(device.gpu);
  if (!list) inFlight.set(device.gpu, list = []);
  while (list.length >= IN_FLIGHT) await list.shift();
  device.check();
}

function dispatchInfo({ step, pipeline }: Command): DispatchInfo {
  const bytes = [...step.reads, ...step.writes].reduce((sum, bound) => sum + bound.bytes, 0);
  return { kernel: step.kernel.name, pipeline, bytes, flops: step.kernel.flops ?? 0 };
}

/** A submission for messages: its kernels, or the first few of them. */
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
  readonly #commands: readonly Command[];
  /** Kept between calls by compiled programs; null: taken from the pool for each call. */
  #arena: GPUBuffer[] | null;
  readonly #hostInputs = new Map<number, GPUBuffer>();
  #proven = false;

  private constructor(
    device: Device,
    plan: MemoryPlan,
    scheduled: Schedule,
    commands: readonly Command[],
    keepsArena: boolean,
  ) {
    this.#device = device;
    this.#schedule = scheduled;
    this.#plan = plan;
    this.#commands = commands;
    this.#arena = null;
    if (keepsArena) {
      device.submit(`allocating ${plan.arenaBytes} bytes for temporaries`, () => (this.#arena = this.#allocateArena()));
      countArena(plan.arenaBytes);
    }
    this.info = {
      dispatches: commands.length,
      pipelines: new Set(commands.map((c) => c.pipeline)).size,
      arenaBytes: plan.arenaBytes,
      peakBytes: plan.peakBytes,
      kernels: commands.map((c) => c.step.kernel.name),
    };
  }

  /** Schedules, plans and compiles; nothing runs yet. */
  static async build(
    device: Device,
    graph: Graph,
    options: { donated?: ReadonlySet<number>; keepsArena: boolean },
  ): Promise<Program> {
    const { schedule: scheduled, memory: plan } = planProgram(graph, device.target, options.donated);
    checkLimits(scheduled, device);
    checkMemory(scheduled, plan, device);
    const commands = await Promise.all(
      scheduled.steps.map(async (step): Promise<Command> => ({
        step,
        pipeline: await pipelineFor(device, step.kernel),
        groups: new Map(),
      })),
    );
    const program = new Program(device, plan, scheduled, commands, options.keepsArena);
    await device.settled();
    device.check();
    return program;
  }

  /** Whether the memory of a leaf becomes that of an output. */
  overwrites(leaf: number): boolean {
    return this.#schedule.inPlace.has(leaf);
  }

  /** Whether an output is a leaf as it came. */
  passes(leaf: number): boolean {
    return this.#schedule.outputs.some((place) => place.leaf === leaf && !this.#schedule.inPlace.has(leaf));
  }

  /**
   * Runs on leaves given as device memory or host values; the caller owns the storages that it gets. Calls `begin` when
   * the device may begin to write.
   */
  async run(leaves: readonly (Storage | TypedArray)[], begin: () => void = () => {}): Promise<Storage[]> {
    const device = this.#device;
    // Tensors may be disposed of while this waits for its turn.
    const held = leaves.flatMap((leaf) => (leaf instanceof Storage ? [leaf.retain()] : []));
    const owned = new Map<Place, Storage>();
    try {
      await throttle(device);
      this.#start(leaves, owned, begin);
      // Later faults reject what waits for values.
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
    // An output that several names share is counted once for each.
    const seen = new Set<Place>();
    return this.#schedule.outputs.map((place) => {
      const storage = owned.get(place)!;
      if (seen.has(place)) storage.retain();
      seen.add(place);
      return storage;
    });
  }

  /** Finds memory for everything, which for outputs goes into `owned`, and submits. */
  #start(leaves: readonly (Storage | TypedArray)[], owned: Map<Place, Storage>, begin: () => void): void {
    const device = this.#device;
    const buffers = new Map<Place, GPUBuffer>();
    const prepareAndSubmit = (): void => {
      const borrowed: GPUBuffer[] = [];
      try {
        for (const place of this.#schedule.places) {
          if (place.leaf === null) continue;
          const given = leaves[place.leaf];
          buffers.set(place, given instanceof Storage ? given.buffer : this.#writeInput(place, given));
        }
        for (const place of new Set(this.#schedule.outputs)) {
          if (place.leaf !== null) owned.set(place, (leaves[place.leaf] as Storage).retain());
          else owned.set(place, new Storage(device, allocateBuffer(device, place.bytes, place.label)));
          buffers.set(place, owned.get(place)!.buffer);
        }
        const arena = this.#arena ?? this.#allocateArena(borrowed);
        for (const [place, slot] of this.#plan.slotOf) buffers.set(place, arena[slot]);
        begin();
        this.#submit(buffers);
      } finally {
        borrowed.forEach(releaseBuffer);
        if (!this.#arena) this.#releaseHostInputs();
      }
    };
    if (this.#commands.length === 0) prepareAndSubmit();
    else device.submit(describe(this.info.kernels), prepareAndSubmit, () => this.#locate(buffers));
  }

  /** Gives the arena back; the program can run no more. */
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

  /** The buffers of the arena; those that it got are in `slots` even where one was refused. */
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

  #submit(buffers: ReadonlyMap<Place, GPUBuffer>): void {
    if (this.#commands.length === 0) return;
    const { gpu } = this.#device;
    const dispatch = (pass: GPUComputePassEncoder, command: Command): void => {
      pass.setPipeline(command.pipeline);
      pass.setBindGroup(0, this.#bindGroup(command, buffers));
      pass.dispatchWorkgroups(...command.step.kernel.workgroups);
    };
    if (isProfiling()) {
      encodeTimed(this.#device, this.#commands.map(dispatchInfo), (pass, k) => dispatch(pass, this.#commands[k]));
    } else {
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const command of this.#commands) dispatch(pass, command);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
    }
    // A lost device answers nothing more; the next check reports the loss.
    inFlight.get(gpu)!.push(gpu.queue.onSubmittedWorkDone().catch(() => undefined));
  }

  /** After a submission was refused: the kernel that is refused by itself, with the memory it was given. */
  async #locate(buffers: ReadonlyMap<Place, GPUBuffer>): Promise<string> {
    const { gpu } = this.#device;
    for (const command of this.#commands) {
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
    return describe(this.info.kernels);
  }

  #bindGroup({ step, pipeline, groups }: Command, buffers: ReadonlyMap<Place, GPUBuffer>): GPUBindGroup {
    // Arena slots may be larger than what lies in them; kernels may ask for the length.
    const bound = [...step.reads, ...step.writes].map(({ place, offset, bytes }) => ({
      buffer: buffers.get(place)!,
      offset,
      size: bytes,
    }));
    const key = bound.map(({ buffer }) => idOf(buffer)).join();
    let group = groups.get(key);
    if (!group) {
      if (groups.size >= GROUPS_KEPT) groups.clear();
      const entries = bound.map((resource, binding) => ({ binding, resource }));
      groups.set(key, group = this.#device.gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    }
    return group;
  }
}
