/** Learning rate schedules: plain functions of the step, counted from 0. */
import { check, checkOptions, show } from "../core/errors.ts";

/** Maps a step to its learning rate. */
export type Schedule = (step: number) => number;

function checkRate(name: string, rate: number, steps?: number): void {
  check(Number.isFinite(rate) && rate >= 0, name, () => `the rate is a number >= 0, got ${show(rate)}`);
  check(
    steps === undefined || (Number.isFinite(steps) && steps > 0),
    name,
    () => `steps is a number > 0, got ${show(steps)}`,
  );
}

/**
 * A constant rate.
 *
 * @example
 * ```ts
 * import { constantSchedule } from "voxgrad/nn";
 *
 * constantSchedule(0.01)(500); // 0.01
 * ```
 */
export function constantSchedule(rate: number): Schedule {
  checkRate("constantSchedule", rate);
  return () => rate;
}

/**
 * rate (1 - step / steps)^power, 0 after `steps`: the "poly" schedule of DeepLab and nnU-Net (power 0.9; nnU-Net uses
 * epochs as steps).
 *
 * @example
 * ```ts
 * import { polySchedule } from "voxgrad/nn";
 *
 * const rate = polySchedule(0.01, { steps: 1000 });
 * rate(500); // 0.00536
 * ```
 */
export function polySchedule(rate: number, options: { steps: number; power?: number }): Schedule {
  checkOptions("polySchedule", options, ["steps", "power"]);
  const { steps, power = 0.9 } = options;
  checkRate("polySchedule", rate, steps);
  return (step) => rate * Math.max(0, 1 - step / steps) ** power;
}

/**
 * Cosine decay from rate to `least` (default: 0), after a linear warmup over the first `warmup` steps: Loshchilov and
 * Hutter 2017.
 *
 * @example
 * ```ts
 * import { cosineSchedule } from "voxgrad/nn";
 *
 * const rate = cosineSchedule(0.1, { steps: 100, warmup: 10 });
 * rate(0); // 0.00909
 * rate(55); // 0.05
 * ```
 */
export function cosineSchedule(rate: number, options: { steps: number; least?: number; warmup?: number }): Schedule {
  checkOptions("cosineSchedule", options, ["steps", "least", "warmup"]);
  const { steps, least = 0, warmup = 0 } = options;
  checkRate("cosineSchedule", rate, steps);
  check(
    warmup >= 0 && warmup < steps,
    "cosineSchedule",
    () => `warmup is in [0, steps), got ${show(warmup)} of ${steps}`,
  );
  return (step) => {
    if (step < warmup) return (rate * (step + 1)) / (warmup + 1);
    const part = Math.min(1, (step - warmup) / (steps - warmup));
    return least + ((rate - least) * (1 + Math.cos(Math.PI * part))) / 2;
  };
}

/**
 * Multiplies the rate by `factor` every `every` steps, as torch.optim.lr_scheduler.StepLR.
 *
 * @example
 * ```ts
 * import { stepDecaySchedule } from "voxgrad/nn";
 *
 * const rate = stepDecaySchedule(1e-3, { every: 1000, factor: 0.98 });
 * rate(2500); // 0.00096
 * ```
 */
export function stepDecaySchedule(rate: number, options: { every: number; factor: number }): Schedule {
  checkOptions("stepDecaySchedule", options, ["every", "factor"]);
  const { every, factor } = options;
  checkRate("stepDecaySchedule", rate, every);
  check(factor > 0, "stepDecaySchedule", () => `factor is a number > 0, got ${show(factor)}`);
  return (step) => rate * factor ** Math.floor(step / every);
}

/**
 * Another schedule after a linear rise over the first `steps` steps, from `start` (default: 0) times its rate: step k
 * has the factor start + (1 - start) (k + 1) / steps. The other schedule counts from the end of the rise.
 *
 * @example
 * ```ts
 * import { polySchedule, warmupSchedule } from "voxgrad/nn";
 *
 * const rate = warmupSchedule(polySchedule(0.1, { steps: 90 }), { steps: 10 });
 * rate(4); // 0.05
 * rate(10); // 0.1
 * ```
 */
export function warmupSchedule(schedule: Schedule, options: { steps: number; start?: number }): Schedule {
  checkOptions("warmupSchedule", options, ["steps", "start"]);
  const { steps, start = 0 } = options;
  check(
    typeof schedule === "function",
    "warmupSchedule",
    () => `the schedule is a function of the step, got ${show(schedule)}`,
  );
  check(
    Number.isInteger(steps) && steps >= 0,
    "warmupSchedule",
    () => `steps is an integer >= 0, got ${show(steps)}`,
  );
  check(start >= 0 && start <= 1, "warmupSchedule", () => `start is in [0, 1], got ${show(start)}`);
  return (step) => step < steps ? schedule(0) * (start + ((1 - start) * (step + 1)) / steps) : schedule(step - steps);
}

/**
 * One cycle, Smith and Topin 2018, as torch.optim.lr_scheduler.OneCycleLR with cosines: from rate / divFactor up to
 * rate in the first part, then down to rate / divFactor / finalDivFactor in the last of the steps.
 *
 * @param options part: of the steps that rises; default 0.3; divFactor: default 25; finalDivFactor: default 1e4
 * @example
 * ```ts
 * import { oneCycleSchedule } from "voxgrad/nn";
 *
 * const rate = oneCycleSchedule(0.1, { steps: 101, part: 0.5 });
 * rate(0); // 0.004
 * ```
 */
export function oneCycleSchedule(
  rate: number,
  options: { steps: number; part?: number; divFactor?: number; finalDivFactor?: number },
): Schedule {
  checkOptions("oneCycleSchedule", options, ["steps", "part", "divFactor", "finalDivFactor"]);
  const { steps, part = 0.3, divFactor = 25, finalDivFactor = 1e4 } = options;
  checkRate("oneCycleSchedule", rate, steps);
  check(part > 0 && part < 1, "oneCycleSchedule", () => `part is between 0 and 1, got ${show(part)}`);
  check(
    divFactor >= 1 && finalDivFactor >= 1,
    "oneCycleSchedule",
    () => `divFactor and finalDivFactor are numbers >= 1, got ${show(divFactor)} and ${show(finalDivFactor)}`,
  );
  const first = rate / divFactor;
  const last = first / finalDivFactor;
  const peak = part * steps - 1;
  check(
    peak > 0 && peak < steps - 1,
    "oneCycleSchedule",
    () => `${steps} steps are too few for a part of ${part} that rises; give more`,
  );
  const between = (from: number, to: number, share: number): number =>
    to + ((from - to) * (1 + Math.cos(Math.PI * Math.min(1, share)))) / 2;
  return (step) =>
    step <= peak ? between(first, rate, step / peak) : between(rate, last, (step - peak) / (steps - 1 - peak));
}

/**
 * The rate after epochs with these losses: multiplied by `factor` whenever the loss has not improved on its minimum by
 * more than `threshold` for more than `patience` epochs, as torch.optim.lr_scheduler.ReduceLROnPlateau with
 * threshold_mode "abs".
 *
 * @param losses one per epoch so far, in order
 * @param options default: factor 0.1, patience 10, threshold 1e-4
 * @example
 * ```ts
 * import { plateauRate } from "voxgrad/nn";
 *
 * const losses = [0.9, 0.5, 0.5, 0.5];
 * plateauRate(1e-3, losses, { factor: 0.8, patience: 1 }); // 8e-4: two epochs without a fall
 * ```
 */
export function plateauRate(
  rate: number,
  losses: readonly number[],
  options: { factor?: number; patience?: number; threshold?: number } = {},
): number {
  checkOptions("plateauRate", options, ["factor", "patience", "threshold"]);
  const { factor = 0.1, patience = 10, threshold = 1e-4 } = options;
  checkRate("plateauRate", rate);
  check(factor > 0 && factor < 1, "plateauRate", () => `factor is between 0 and 1, got ${show(factor)}`);
  check(
    patience >= 0 && threshold >= 0,
    "plateauRate",
    () => `patience and threshold are numbers >= 0, got ${show(patience)} and ${show(threshold)}`,
  );
  let [reduced, least, bad] = [rate, Infinity, 0];
  for (const loss of losses) {
    bad = loss < least - threshold ? 0 : bad + 1;
    if (bad === 0) least = loss;
    if (bad <= patience) continue;
    reduced *= factor;
    bad = 0;
  }
  return reduced;
}
