// Compares compiled steps: times, in turn in one process, and exact counts: operations, memory, dispatches.
import { lower } from "../../engine/compile/graph/lower.ts";
import { planProgram } from "../../engine/compile/plan_program.ts";
import { trace } from "../../engine/compile/trace.ts";
import { device } from "../../engine/gpu/mod.ts";
import { deviceInfo, profile, tree } from "../../engine/mod.ts";
import { formatTable } from "../../engine/train/mod.ts";

/** A compiled step on its own batch: `run` executes it and waits for its metrics. */
export interface MeasuredStep {
  readonly name: string;
  plan(): Promise<{ peakBytes: number; dispatches: number; kernels: readonly string[] }>;
  run(): Promise<void>;
}

/** Milliseconds, minimum of all rounds, and operations of each step. */
export interface StepMeasures {
  readonly best: number[];
  readonly flops: number[];
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
};

/**
 * Runs the steps in turn, `rounds` times after a first run that compiles, and prints a table with ratios to the first
 * step.
 */
export async function measureSteps(
  steps: readonly MeasuredStep[],
  about: string,
  rounds: number,
): Promise<StepMeasures> {
  console.log(`\n${(await deviceInfo()).name}; ${about}`);
  const times = steps.map((): number[] => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [k, { run }] of steps.entries()) {
      const from = performance.now();
      await run();
      if (round > 0) times[k].push(performance.now() - from);
    }
  }
  const best = times.map((list) => Math.min(...list));
  // Ratios per round: what slows the machine down affects both runs of a round.
  const paired = times.map((list) => median(list.map((time, round) => time / times[0][round])));
  // Exact, unlike times on a shared machine.
  const flops: number[] = [];
  for (const { run } of steps) flops.push((await profile(run)).kernels.reduce((sum, kernel) => sum + kernel.flops, 0));
  const plans = await Promise.all(steps.map(({ plan }) => plan()));
  const rows = steps.map(({ name }, k) => [
    name,
    best[k],
    best[k] / best[0],
    paired[k],
    flops[k] / 1e9,
    flops[k] / flops[0],
    plans[k].peakBytes / 1e6,
    plans[k].peakBytes / plans[0].peakBytes,
    plans[k].dispatches,
    plans[k].kernels.filter((kernel) => kernel.includes("conv_")).length,
  ]);
  const heads = [
    "",
    "least ms",
    "x",
    "x, median of rounds",
    "GFLOP",
    "x GFLOP",
    "MB",
    "x memory",
    "dispatches",
    "convolutions",
  ];
  console.log(formatTable(heads, rows));
  return { best, flops };
}

/** The plan of a step with donated first arguments on this adapter; no kernel is compiled. */
export async function plannedStep<A extends unknown[]>(take: (...args: A) => unknown, args: A, donated = 1) {
  const { target } = await device();
  const { outputs, placeholders } = trace("step", take, args);
  const overwritten = new Set(tree.leaves(args.slice(0, donated)).map((_, k) => k));
  const { schedule, memory } = planProgram(lower(outputs, target, placeholders), target, overwritten);
  return { ...memory, dispatches: schedule.steps.length };
}
