/** tune: times kernel variants on the device, so that programs use the fastest. */
import { bytesOf } from "../core/dtype.ts";
import { checkFunction, VoxgradError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import {
  allocateBuffer,
  type Device,
  device as openDevice,
  releaseBuffer,
  stopwatch,
  writeBuffer,
} from "../gpu/mod.ts";
import type { Lowered, VariantChoice } from "../../shaders/types.ts";
import { lower } from "./graph/lower.ts";
import { planProgram } from "./plan_program.ts";
import { trace } from "./trace.ts";

const ROUNDS = 5;
/** A variant replaces the default only if it takes at most this fraction of its time, since times are noisy. */
const BETTER = 0.97;
/** Variants this many times slower than the best are not measured further. */
const HOPELESS = 2;
/** Number of comparisons with the default; a variant may lose one. */
const DUELS = 7;

/** A measured variant choice. */
export interface TunedKernel {
  /** The operator and its sizes; similar sizes share a name. */
  readonly work: string;
  readonly variant: string;
  /** The variant used without tuning. */
  readonly default: string;
  /** Shortest time of each variant in milliseconds; variants that do not run here are missing. */
  readonly milliseconds: Readonly<Record<string, number>>;
}

/**
 * Tunes the kernels of a function: traces it as `compile` does, and times every variant of each kernel on the device
 * with synthetic data. All programs then use the fastest variants (existing ones are rebuilt), and so do later runs
 * that open the device with `tuned: true` or `--tune`. Results change only by rounding. Without tuning a fixed rule
 * chooses, and every run on an adapter gives the same bits.
 *
 * @param f the function, as passed to compile
 * @param args arguments like those of later calls
 * @returns a row for each choice between at least two variants that fit in memory
 * @example
 * ```ts
 * import { conv3d, random, type Tensor, tune } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [1, 16, 16, 16, 16] });
 * const w = random.normal(random.key(1), { shape: [16, 16, 3, 3, 3] });
 * const times = await tune((x: Tensor, w: Tensor) => conv3d(x, w, { padding: 1 }), x, w);
 * for (const { work, variant, milliseconds } of times) console.log(work, variant, milliseconds);
 * ```
 */
export async function tune<A extends unknown[]>(f: (...args: A) => unknown, ...args: A): Promise<TunedKernel[]> {
  checkFunction("tune", "the first argument", f);
  const device = await openDevice();
  const { outputs, placeholders } = trace("tune", f, args);
  const kernels = await tuneChoices(device, choicesOf(device, outputs, placeholders));
  device.tuned.version++;
  return kernels;
}

/** Times the choices of a graph that earlier tuning does not cover. */
export async function tuneNew(
  device: Device,
  outputs: readonly Tensor[],
  args: readonly Tensor[],
): Promise<TunedKernel[]> {
  const choices = choicesOf(device, outputs, args);
  const unknown = choices.filter(({ key, variants }) => !device.tuned.knows(key, variants));
  return tuneChoices(device, unknown, ({ work, variant, default: usual, milliseconds }, done, total) => {
    const than = variant === usual ? "the default" : `not ${usual}, ${milliseconds[usual].toFixed(3)} ms`;
    const time = milliseconds[variant].toFixed(3);
    device.tuned.progress(done, total, `tuned ${done}/${total}  ${work}: ${variant}, ${time} ms (${than})`);
  });
}

/** The choices between at least two variants in the program of a graph. */
export function choicesOf(device: Device, outputs: readonly Tensor[], args: readonly Tensor[]): VariantChoice[] {
  const { choices } = planProgram(lower(outputs, device.target, args), device.target).schedule;
  const byKey = new Map<string, VariantChoice>();
  for (const choice of choices) if (choice.variants.length > 1 && !byKey.has(choice.key)) byKey.set(choice.key, choice);
  return [...byKey.values()];
}

/** Times the variants of each choice, and keeps the fastest; existing programs do not change by it. */
export async function tuneChoices(
  device: Device,
  choices: readonly VariantChoice[],
  progress?: (kernel: TunedKernel, done: number, total: number) => void,
): Promise<TunedKernel[]> {
  const kernels: TunedKernel[] = [];
  for (const choice of choices) {
    const kernel = await measure(device, choice).catch((error: unknown) => {
      // There may be too little memory to measure; the program may still run.
      if (error instanceof VoxgradError && !device.gone) return null;
      throw error;
    });
    if (!kernel) continue;
    kernels.push(kernel);
    await device.tuned.add(choice.key, { variant: kernel.variant, among: choice.variants });
    progress?.(kernel, kernels.length, choices.length);
  }
  return kernels;
}

async function measure(device: Device, choice: VariantChoice): Promise<TunedKernel> {
  const { family, inputs: sizes, output: size, dtype } = choice.spec;
  const buffers: GPUBuffer[] = [];
  const allocate = (bytes: number): GPUBuffer => {
    buffers.push(allocateBuffer(device, bytes, `tuning ${family}`));
    return buffers.at(-1)!;
  };
  try {
    const inputs = sizes.map((elements, k) => {
      const buffer = allocate(bytesOf(elements, dtype));
      writeBuffer(device, buffer, synthetic(elements, k), dtype);
      return buffer;
    });
    const output = allocate(bytesOf(size, dtype));
    const watches = new Map<string, () => Promise<number>>();
    for (const variant of choice.variants) {
      try {
        const { temps, dispatches } = checked(device, choice.lower(variant));
        const temporaries = temps.map(allocate);
        const watch = await stopwatch(
          device,
          dispatches,
          (slot) => "input" in slot ? inputs[slot.input] : "temp" in slot ? temporaries[slot.temp] : output,
        );
        // The first run warms up: some drivers compile then.
        await watch();
        watches.set(variant, watch);
      } catch (error) {
        // A variant that this adapter rejects is skipped; the default must run.
        if (!(error instanceof VoxgradError) || device.gone || variant === choice.variants[0]) throw error;
      }
    }
    const { variant, milliseconds } = await fastest(watches);
    return { work: choice.key, variant, default: choice.variants[0], milliseconds };
  } finally {
    buffers.forEach(releaseBuffer);
  }
}

/**
 * The fastest of several, the first of which is the default. They run in turn, and a variant that seems faster must
 * beat the default repeatedly, because other load on the machine disturbs single times.
 */
export async function fastest(
  watches: ReadonlyMap<string, () => Promise<number>>,
): Promise<{ variant: string; milliseconds: Record<string, number> }> {
  const times = new Map<string, number>();
  const time = async (variant: string): Promise<number> => {
    const now = await watches.get(variant)!();
    times.set(variant, Math.min(now, times.get(variant) ?? Infinity));
    return now;
  };
  const [usual] = [...watches.keys()] as [string];
  for (let round = 0; round < ROUNDS; round++) {
    const best = Math.min(...times.values());
    for (const variant of watches.keys()) {
      if (variant === usual || !(times.get(variant)! > HOPELESS * best)) await time(variant);
    }
  }
  let [[variant]] = [...times].sort((p, q) => p[1] - q[1]) as [[string, number]];
  if (variant !== usual) {
    let won = 0;
    for (let duel = 0; duel < DUELS; duel++) if ((await time(variant)) <= BETTER * (await time(usual))) won++;
    if (won < DUELS - 1) variant = usual;
  }
  return { variant, milliseconds: Object.fromEntries(times) };
}

/** Applies the limits of program building to a variant. */
function checked(device: Device, lowered: Lowered): Lowered {
  const { maxBindingBytes, maxStorageBuffers, maxWorkgroupsPerDimension } = device.target;
  const fits = lowered.temps.every((bytes) => bytes <= maxBindingBytes) &&
    lowered.dispatches.every(
      ({ kernel, reads, writes }) =>
        reads.length + writes.length <= maxStorageBuffers &&
        kernel.workgroups.every((count) => count <= maxWorkgroupsPerDimension),
    );
  if (!fits) throw new VoxgradError("tune: the variant is beyond the limits of the adapter");
  return lowered;
}

/** Random numbers in [-1, 1], without subnormals, which are slow on CPUs. */
function synthetic(elements: number, seed: number): Float32Array {
  const block = Float32Array.from(
    { length: Math.min(elements, 4099) },
    (_, k) => (((k + seed) * 7919) % 1009) / 504.5 - 1,
  );
  const data = new Float32Array(elements);
  for (let at = 0; at < elements; at += block.length) data.set(block.subarray(0, elements - at), at);
  return data;
}
