/** The arithmetic of the GPU report. */
import type { Roofs } from "../../engine/mod.ts";
import type { EngineId } from "../peers/asked.ts";
import { median, type Result, type Row } from "../peers/bench.ts";
import type { Facts } from "../peers/item.ts";
import { type Epochs, type GpuRun, NNUNET } from "./gpu_run.ts";

/** The times of a result that holds. */
export const timesOf = (result: Result | undefined): readonly number[] =>
  result === undefined || result.cannot ? [] : result.times;

/** The median of an engine's times for a row, if it has some. */
export function medianOf(row: Row | undefined, id: EngineId): number | undefined {
  const times = timesOf(row?.results[id]);
  return times.length > 0 ? median(times) : undefined;
}

/** How many times as long a peer takes. */
export function ratioOf(row: Row | undefined, peer: EngineId, own: EngineId): number | undefined {
  const [theirs, ours] = [medianOf(row, peer), medianOf(row, own)];
  return theirs !== undefined && ours !== undefined ? theirs / ours : undefined;
}

/** What a call reaches of the adapter's roofs, as fractions. */
export interface Shares {
  readonly gigaflopsPerSecond: number;
  readonly gigabytesPerSecond: number;
  readonly arithmetic: number;
  readonly matrices?: number;
  readonly bandwidth: number;
  /** The sum of floors over the time: 1 is a perfect schedule of these kernels. */
  readonly floors?: number;
}

/** Undefined where the kernels told nothing of themselves, or the roofs are not known. */
export function sharesOf(facts: Facts | undefined, milliseconds: number, roofs: GpuRun["roofs"]): Shares | undefined {
  if (facts?.flops === undefined || facts.bytes === undefined || "error" in roofs) return undefined;
  const [flops, bytes] = [facts.flops / milliseconds / 1e6, facts.bytes / milliseconds / 1e6];
  const { gigaflopsPerSecond, gigabytesPerSecond, matrixGigaflopsPerSecond: matrices } = roofs;
  return {
    gigaflopsPerSecond: flops,
    gigabytesPerSecond: bytes,
    arithmetic: flops / gigaflopsPerSecond,
    ...(matrices === undefined ? {} : { matrices: flops / matrices }),
    bandwidth: bytes / gigabytesPerSecond,
    ...(facts.floors ? { floors: facts.floors.total / milliseconds } : {}),
  };
}

/** Seconds of an epoch and of nnU-Net's benchmark of five, from the mean of the measured iterations. */
export function epochSeconds({ train, validation }: Epochs): { epoch: number; all: number; whole: boolean } | null {
  const [trains, validations] = [timesOf(train), timesOf(validation)];
  if (trains.length === 0 || validations.length === 0) return null;
  const mean = (times: readonly number[]): number => times.reduce((a, b) => a + b, 0) / times.length;
  const epoch = (NNUNET.train * mean(trains) + NNUNET.validation * mean(validations)) / 1000;
  const whole = trains.length >= NNUNET.epochs * NNUNET.train &&
    validations.length >= NNUNET.epochs * NNUNET.validation;
  return { epoch, all: NNUNET.epochs * epoch, whole };
}

/** An aim, with what was reached, both in the same unit. */
export interface Goal {
  readonly text: string;
  readonly aim: number;
  readonly above: boolean;
  /** By item; undefined where it was not measured. */
  readonly reached: readonly { readonly name: string; readonly value: number | undefined }[];
}

const isRoofs = (roofs: GpuRun["roofs"]): roofs is Roofs => !("error" in roofs);

/** What is aimed at on a GPU. */
export function goalsOf(run: GpuRun): Goal[] {
  const convolutions = run.operators.filter(({ name }) => name.startsWith("conv3d"));
  const share = (row: Row, id: EngineId, key: "arithmetic" | "matrices"): number | undefined => {
    const middle = medianOf(row, id);
    return middle === undefined ? undefined : sharesOf(row.facts[id], middle, run.roofs)?.[key];
  };
  const shares = (id: EngineId, key: "arithmetic" | "matrices") =>
    convolutions.map((row) => ({ name: row.name, value: share(row, id, key) }));
  const colab = run.networks.filter(({ name }) => name.startsWith("CoLab"));
  const steps = colab.filter(({ name }) => name.endsWith("training step"));
  const hvps = run.networks.filter(({ name }) => name.endsWith("Hessian-vector product"));
  const faster = (rows: readonly Row[]) => rows.map((row) => ({ name: row.name, value: ratioOf(row, "amp", "mixed") }));
  const memory = run.networks.flatMap((row) =>
    ([["mixed", "amp"], ["ours", "torch"]] as const).map(([own, peer]) => {
      const [ours, theirs] = [row.facts[own]?.peakBytes, row.facts[peer]?.peakBytes];
      return {
        name: `${row.name}, ${own === "ours" ? "f32" : own}`,
        value: ours && theirs ? ours / theirs : undefined,
      };
    })
  );
  const byMatrices = isRoofs(run.roofs) && run.roofs.matrixGigaflopsPerSecond !== undefined;
  return [
    { text: "conv3d in f32, part of the f32 roof", aim: 0.6, above: true, reached: shares("ours", "arithmetic") },
    ...(byMatrices
      ? [{
        text: "conv3d mixed, part of the matrix roof",
        aim: 0.35,
        above: true,
        reached: shares("mixed", "matrices"),
      }]
      : []),
    { text: "CoLab's step, PyTorch AMP / voxgrad mixed", aim: 1, above: true, reached: faster(steps) },
    { text: "Hessian-vector products, PyTorch AMP / voxgrad mixed", aim: 1, above: true, reached: faster(hvps) },
    { text: "peak memory of networks, voxgrad / PyTorch", aim: 0.7, above: false, reached: memory },
  ];
}

/** In how many cases a goal is met, of how many that were measured, and the worst of them; null where none was. */
export function goalState(
  { aim, above, reached }: Goal,
): { met: number; of: number; worst: number; name: string } | null {
  const known = reached.filter((each): each is { name: string; value: number } => each.value !== undefined);
  if (known.length === 0) return null;
  const isMet = (value: number): boolean => (above ? value >= aim : value <= aim);
  const worst = known.reduce((a, b) => ((above ? b.value < a.value : b.value > a.value) ? b : a));
  return {
    met: known.filter(({ value }) => isMet(value)).length,
    of: known.length,
    worst: worst.value,
    name: worst.name,
  };
}
