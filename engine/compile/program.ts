/** A scheduled graph with its pipelines: runs with one encoder and one submit. */
import type { TypedArray } from "../core/dtype.ts";
import { VoxgradError } from "../core/errors.ts";
import {
  allocateBuffer,
  countArena,
  type Device,
  encodeTimed,
  isProfiling,
  pipelineFor,
  releaseBuffer,
  Storage,
  writeBuffer,
} from "../gpu/mod.ts";
import type { Graph } from "./lower.ts";
import { planMemory, type Plan } from "./plan.ts";
import { schedule, type Place, type Schedule, type Step } from "./schedule.ts";

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
  if (id === undefined) bufferIds.set(buffer, (id = nextBufferId++));
  return id;
}

const inFlight = new WeakMap<GPUDevice, Promise<unknown>[]>();
/** Waits until few submissions are under way. */
async function throttle(device: Device): Promise<void> {
  let list = inFlight.get(device.gpu);
  if (!list) inFlight.set(device.gpu, (list = []));
  while (list.length >= IN_FLIGHT) await list.shift();
  device.check();
}

export class Program {
  readonly info: ProgramInfo;
  readonly #device: Device;
  readonly #schedule: Schedule;
  readonly #plan: Plan;
  readonly #commands: readonly Command[];
  /** Kept between calls by compiled programs; null: taken from the pool for each call. */
  #arena: GPUBuffer[] | null;
  readonly #hostInputs = new Map<number, GPUBuffer>();
  #proven = false;

  private constructor(
    device: Device,
    plan: Plan,
    scheduled: Schedule,
    commands: readonly Command[],
    keepsArena: boolean,
  ) {
    this.#device = device;
    this.#schedule = scheduled;
    this.#plan = plan;
    this.#commands = commands;
    this.#arena = keepsArena ? this.#allocateArena() : null;
    if (keepsArena) countArena(plan.arenaBytes);
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
    const scheduled = schedule(graph, device.target, options.donated);
    const plan = planMemory(scheduled);
    checkLimits(scheduled, device);
    const commands = await Promise.all(
      scheduled.steps.map(async (step): Promise<Command> => ({
        step,
        pipeline: await pipelineFor(device, step.kernel),
        groups: new Map(),
      })),
    );
    return new Program(device, plan, scheduled, commands, options.keepsArena);
  }

  /** Whether the memory of a leaf becomes that of an output. */
  overwrites(leaf: number): boolean {
    return this.#schedule.inPlace.has(leaf);
  }

  /** Whether an output is a leaf as it came. */
  passes(leaf: number): boolean {
    return this.#schedule.outputs.some((place) => place.leaf === leaf && !this.#schedule.inPlace.has(leaf));
  }

  /** Runs on leaves given as device memory or host values; the caller owns the storages that it gets. */
  async run(leaves: readonly (Storage | TypedArray)[]): Promise<Storage[]> {
    const device = this.#device;
    await throttle(device);
    const buffers = new Map<Place, GPUBuffer>();
    const owned = new Map<Place, Storage>();
    for (const place of this.#schedule.places) {
      if (place.leaf === null) continue;
      const given = leaves[place.leaf]!;
      buffers.set(place, given instanceof Storage ? given.buffer : this.#writeInput(place, given));
    }
    for (const place of new Set(this.#schedule.outputs)) {
      if (place.leaf !== null) owned.set(place, (leaves[place.leaf] as Storage).retain());
      else owned.set(place, new Storage(allocateBuffer(device, place.bytes, place.label)));
      buffers.set(place, owned.get(place)!.buffer);
    }
    const arena = this.#arena ?? this.#allocateArena();
    for (const [place, slot] of this.#plan.slotOf) buffers.set(place, arena[slot]!);

    const scoped = !this.#proven;
    if (scoped)
      for (const kind of ["validation", "out-of-memory", "internal"] as const) device.gpu.pushErrorScope(kind);
    this.#submit(buffers);
    if (!this.#arena) {
      arena.forEach(releaseBuffer);
      this.#releaseHostInputs();
    }
    if (scoped) {
      const errors = await Promise.all([0, 1, 2].map(() => device.gpu.popErrorScope()));
      const error = errors.find((e) => e !== null);
      if (error)
        throw new VoxgradError(
          `The GPU refused a program of ${this.info.dispatches} kernels (${this.info.peakBytes} bytes): ${error.message}`,
        );
      this.#proven = true;
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

  /** Gives the arena back; the program can run no more. */
  dispose(): void {
    if (this.#arena) countArena(-this.#plan.arenaBytes);
    this.#arena?.forEach(releaseBuffer);
    this.#arena = null;
    this.#releaseHostInputs();
  }

  #releaseHostInputs(): void {
    for (const buffer of this.#hostInputs.values()) releaseBuffer(buffer);
    this.#hostInputs.clear();
  }

  #allocateArena(): GPUBuffer[] {
    return this.#plan.slots.map((bytes, k) => allocateBuffer(this.#device, bytes, `arena slot ${k}`));
  }

  #writeInput(place: Place, data: TypedArray): GPUBuffer {
    let buffer = this.#hostInputs.get(place.leaf!);
    if (!buffer) this.#hostInputs.set(place.leaf!, (buffer = allocateBuffer(this.#device, place.bytes, place.label)));
    writeBuffer(this.#device, buffer, data);
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
      encodeTimed(this.#device, this.info.kernels, (pass, k) => dispatch(pass, this.#commands[k]!));
    } else {
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const command of this.#commands) dispatch(pass, command);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
    }
    inFlight.get(gpu)!.push(gpu.queue.onSubmittedWorkDone());
  }

  #bindGroup({ step, pipeline, groups }: Command, buffers: ReadonlyMap<Place, GPUBuffer>): GPUBindGroup {
    // Arena slots may be larger than what lies in them; kernels may ask for the length.
    const bound = [...step.reads, ...step.writes].map((place) => ({ buffer: buffers.get(place)!, size: place.bytes }));
    const key = bound.map(({ buffer }) => idOf(buffer)).join();
    let group = groups.get(key);
    if (!group) {
      if (groups.size >= GROUPS_KEPT) groups.clear();
      const entries = bound.map((resource, binding) => ({ binding, resource }));
      groups.set(key, (group = this.#device.gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries })));
    }
    return group;
  }
}

/** What cannot run is refused before anything is allocated. */
function checkLimits(scheduled: Schedule, device: Device): void {
  const { maxBindingBytes, maxWorkgroupsPerDimension } = device.target;
  for (const place of scheduled.places) {
    if (place.bytes > maxBindingBytes) {
      throw new VoxgradError(
        `${place.label}: needs ${place.bytes} bytes in one buffer, the adapter binds at most ${maxBindingBytes}; use a smaller batch, patch or width`,
      );
    }
  }
  for (const { kernel } of scheduled.steps) {
    if (kernel.workgroups.some((n) => n > maxWorkgroupsPerDimension)) {
      throw new VoxgradError(
        `${kernel.name}: needs ${kernel.workgroups.join(" x ")} workgroups, the adapter allows ${maxWorkgroupsPerDimension} in each dimension`,
      );
    }
  }
}
