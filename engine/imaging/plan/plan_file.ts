/** Reads and writes plan files: readable JSON, validated because people edit it. */
import { platform } from "#platform";
import { isPlain, listed, show, VoxgradError } from "../../core/errors.ts";
import { JsonError, parseJson } from "../../core/json.ts";
import { readSource } from "../../platform/sources.ts";
import type { FileSource } from "../../platform/sources.ts";
import type { Dataset } from "../dataset/types.ts";
import { networkRules, plannedNetworks } from "./network_rules.ts";
import type { ChannelPlan, Plan } from "./plan.ts";

/** An invalid plan; `file` is the file at fault and the message names the entry. */
export class PlanError extends VoxgradError {
  override name = "PlanError";
  readonly file: string;

  constructor(file: string, problem: string) {
    super(`${file}: ${problem}`);
    this.file = file;
  }
}

/** Longest line that a list of numbers or names is written on. */
const LINE = 110;

/**
 * JSON with short lists on one line each, two spaces a level.
 *
 * @example
 * ```ts
 * import { planText } from "voxgrad/imaging";
 *
 * planText({ patch: [32, 32, 32], batch: 2 }); // '{\n  "patch": [32, 32, 32],\n  "batch": 2\n}'
 * ```
 */
export function planText(value: unknown, indent = ""): string {
  const line = oneLine(value);
  if (typeof value !== "object" || value === null || (Array.isArray(value) && line.length + indent.length < LINE)) {
    return line;
  }
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const lines = value.map((each) => inner + (oneLine(each).length < LINE ? oneLine(each) : planText(each, inner)));
    return `[\n${lines.join(",\n")}\n${indent}]`;
  }
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  const lines = entries.map(([key, v]) => `${inner}${JSON.stringify(key)}: ${planText(v, inner)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

function oneLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(oneLine).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  return `{ ${entries.map(([key, v]) => `${JSON.stringify(key)}: ${oneLine(v)}`).join(", ")} }`;
}

type Check = (value: unknown) => string | undefined;
type Fields = Readonly<Record<string, Check>>;

const isNumber = (v: unknown): v is number => typeof v === "number" && Number.isFinite(v);
const where = (what: string, holds: (v: unknown) => boolean): Check => (v) => holds(v) ? undefined : what;
const text = where("a string", (v) => typeof v === "string");
const number = where("a number", isNumber);
const positive = where("a number above 0", (v) => isNumber(v) && v > 0);
const whole = (least: number): Check =>
  where(`an integer >= ${least}`, (v) => Number.isInteger(v) && (v as number) >= least);
const oneOf = (...values: readonly unknown[]): Check =>
  where(values.map((v) => JSON.stringify(v)).join(" or "), (v) => values.includes(v));
const list = (of: Check, what: string, length?: number): Check =>
  where(what, (v) => Array.isArray(v) && v.length === (length ?? v.length) && v.every((e) => of(e) === undefined));
const triple = (of: Check, what: string): Check => list(of, `three of ${what}, [d, h, w]`, 3);
const optional = (of: Check): Check => (v) => v === undefined ? undefined : of(v);

const resampling: Fields = {
  image: oneOf(0, 1, 3),
  label: oneOf(0, 1),
  separateAxis: oneOf(0, 1),
  anisotropy: positive,
};
/** The entries of `network` that all networks have. */
const topology: Fields = {
  name: where("the name of a network", (v) => typeof v === "string"),
  features: list(whole(1), "a list of integers >= 1"),
  kernels: list(triple(whole(1), "integers >= 1"), "a list of [d, h, w]"),
  strides: list(triple(whole(1), "integers >= 1"), "a list of [d, h, w]"),
};
const fingerprint: Fields = {
  cases: whole(1),
  medianShape: triple(positive, "numbers above 0"),
  medianSpacing: triple(positive, "numbers above 0"),
  medianPreparedShape: triple(positive, "numbers above 0"),
  relativeSizeAfterCrop: optional(positive),
};
const channel: Fields = {
  name: text,
  normalization: oneOf("ct", "z-score", "z-score in mask", "rescale", "rgb", "none"),
};
const rescaled: Fields = {
  ...channel,
  quantiles: optional(
    where(
      "two numbers from 0 to 1, the smaller one first",
      (v) => Array.isArray(v) && v.length === 2 && v.every(isNumber) && 0 <= v[0] && v[0] < v[1] && v[1] <= 1,
    ),
  ),
};
const ctChannel: Fields = { ...channel, mean: number, deviation: positive, low: number, high: number };
const region: Fields = {
  name: text,
  values: list(whole(0), "a list of integers >= 0"),
  value: optional(whole(1)),
};
const plain = where("an object", isPlain);
const fields: Fields = {
  format: oneOf("voxgrad plan 1"),
  dataset: text,
  configuration: oneOf("2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"),
  previousStage: optional(text),
  orientation: oneOf("RAS", "stored"),
  transpose: where(
    "0, 1 and 2 in some order",
    (v) => Array.isArray(v) && v.length === 3 && [0, 1, 2].every((axis) => v.includes(axis)),
  ),
  spacing: triple(positive, "numbers above 0"),
  patch: triple(whole(1), "integers >= 1"),
  batch: whole(1),
  channels: where("a list of channels", (v) => Array.isArray(v) && v.length > 0 && v.every(isPlain)),
  labels: where(
    "a list of strings, background first, which images without labels have alone",
    (v) => Array.isArray(v) && v.length > 0 && !v.some(text),
  ),
  regions: optional(where("a list of regions", (v) => Array.isArray(v) && v.length > 0 && v.every(isPlain))),
  ignoreLabel: optional(whole(1)),
  resampling: plain,
  network: plain,
  fingerprint: plain,
  estimatedBytes: optional(positive),
};

/** Plans and models written before 0.2.0 say "normalisation". */
function renamed(json: unknown): unknown {
  if (!isPlain(json) || !Array.isArray(json.channels)) return json;
  const channels = json.channels.map((each: unknown) => {
    if (!isPlain(each) || !Object.hasOwn(each, "normalisation") || Object.hasOwn(each, "normalization")) return each;
    const { normalisation, ...rest } = each;
    return { ...rest, normalization: normalisation };
  });
  return { ...json, channels };
}

/**
 * Checks that a value is a plan that is valid: every entry present, none unknown, and all consistent.
 *
 * @param file for messages
 * @throws PlanError naming the entry, what it is and what it should be
 * @example
 * ```ts
 * import { checkPlan, readPlan } from "voxgrad/imaging";
 *
 * const plan = await readPlan("plan.json");
 * const larger = checkPlan({ ...plan, batch: 4 }, "plan.json");
 * ```
 */
export function checkPlan(json: unknown, file: string): Plan {
  const fail = (problem: string): never => {
    throw new PlanError(file, problem);
  };
  const object = (value: unknown, path: string, known: Fields): void => {
    if (!isPlain(value)) return fail(`${path === "" ? "it" : path} is ${show(value)}; wanted an object`);
    const name = (key: string): string => (path === "" ? key : `${path}.${key}`);
    for (const key of Object.keys(value)) {
      if (!Object.hasOwn(known, key)) {
        fail(`${name(key)} is no entry of a plan; ${path || "it"} takes ${Object.keys(known).join(", ")}`);
      }
    }
    for (const [key, check] of Object.entries(known)) {
      const wanted = check(value[key]);
      if (wanted === undefined) continue;
      fail(
        value[key] === undefined
          ? `${name(key)} is missing; wanted ${wanted}`
          : `${name(key)} is ${show(value[key])}; wanted ${wanted}`,
      );
    }
  };
  const given = renamed(json);
  object(given, "", fields);
  const plan = given as Plan;
  object(plan.resampling, "resampling", resampling);
  object(plan.fingerprint, "fingerprint", fingerprint);
  const fieldsOf = ({ normalization: how }: ChannelPlan): Fields =>
    how === "ct" ? ctChannel : how === "rescale" ? rescaled : channel;
  plan.channels.forEach((c, k) => object(c, `channels[${k}]`, fieldsOf(c)));
  plan.regions?.forEach((r, k) => {
    object(r, `regions[${k}]`, region);
    const odd = r.values.find((value) => value >= plan.labels.length);
    if (odd !== undefined) fail(`regions[${k}] has the value ${odd}; labels go from 0 to ${plan.labels.length - 1}`);
  });
  const { network, patch, ignoreLabel } = plan;
  const rules = networkRules(network.name);
  if (!rules) {
    const names = plannedNetworks().map((name) => JSON.stringify(name)).join(" or ");
    const wanted = names === "" ? "a registered network: import voxgrad/models" : names;
    return fail(`network.name is ${show(network.name)}; wanted ${wanted}`);
  }
  const stages = Array.isArray(network.features) ? network.features.length : 0;
  const own = Object.entries(rules.entries).map(([key, check]) => [key, (v: unknown) => check(v, stages)] as const);
  object(network, "network", { ...topology, ...Object.fromEntries(own) });
  if (stages < 2) fail(`network.features lists ${stages} stage(s); wanted two or more`);
  for (const [key, values] of Object.entries({ kernels: network.kernels, strides: network.strides })) {
    if (values.length !== stages) {
      fail(`network.${key} has ${values.length} entries; wanted ${stages} for ${stages} stages (network.features)`);
    }
  }
  const even = network.kernels.find((k) => k.some((n) => n % 2 === 0));
  if (even) fail(`network.kernels holds ${show(even)}; kernels are odd`);
  const deep = [patch, ...network.kernels, ...network.strides].find(([depth]) => depth !== 1);
  if (plan.configuration === "2d" && deep) {
    fail(
      `configuration is "2d", and ${show(deep)} is deeper than a slice; wanted patch, kernels and strides [1, h, w]`,
    );
  }
  const product = [0, 1, 2].map((k) => network.strides.reduce((n, s) => n * s[k], 1));
  patch.forEach((n, k) => {
    const p = product[k];
    if (n % p === 0) return;
    fail(
      `patch is ${patch.join(" x ")}, but network.strides halve its axis ${k} to 1/${p}; ` +
        `wanted a multiple of ${p}: ${Math.max(p, n - (n % p))} or ${n - (n % p) + p}`,
    );
  });
  if (patch.every((n, k) => n === product[k])) {
    fail(`patch is ${patch.join(" x ")}, of which one voxel is left at the coarsest stage; enlarge it or drop a stage`);
  }
  if (ignoreLabel !== undefined && ignoreLabel < plan.labels.length) {
    fail(
      `ignoreLabel is ${ignoreLabel}, the value of "${plan.labels[ignoreLabel]}"; wanted ${plan.labels.length} or more`,
    );
  }
  return plan;
}

/**
 * Reads and checks a plan, wherever its file is.
 *
 * @throws PlanError for a file that is not a plan, PlatformError for one that cannot be read
 * @example
 * ```ts
 * import { readPlan } from "voxgrad/imaging";
 *
 * const { patch, batch, network } = await readPlan("plan.json");
 * ```
 */
export async function readPlan(source: FileSource): Promise<Plan> {
  const { bytes, name } = await readSource(source);
  try {
    return checkPlan(parseJson(bytes, name), name);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new PlanError(name, `it is no JSON (${error.problem}); correct it, or make it again by voxgrad plan`);
  }
}

/**
 * Checks a plan against the dataset it is used with: channels, labels, regions and ignore label must agree in name and
 * value.
 *
 * @param file for messages
 * @throws PlanError naming what differs
 * @example
 * ```ts
 * import { openDataset } from "voxgrad/imaging";
 *
 * checkPlanFits(await readPlan("plan.json"), await openDataset("data/Task04_Hippocampus"), "plan.json");
 * ```
 */
export function checkPlanFits(
  plan: Plan,
  dataset: Pick<Dataset, "folder" | "channels" | "labels" | "regions" | "ignoreLabel">,
  file: string,
  fix = "Make a plan of this dataset by voxgrad plan, and edit in it what you want of the other",
): void {
  const numbered = (names: readonly string[]): string[] => names.map((name, value) => `${value} ${name}`);
  const regionsOf = (regions: Plan["regions"]): string[] =>
    (regions ?? []).map(({ name, values }) => `${name} [${[...values].sort((a, b) => a - b)}]`);
  const sides: Record<string, [string[], string[]]> = {
    channels: [numbered(plan.channels.map(({ name }) => name)), numbered(dataset.channels)],
    labels: [numbered(plan.labels), numbered(dataset.labels.map(({ name }) => name))],
    regions: [regionsOf(plan.regions), regionsOf(dataset.regions)],
    "ignore label": [plan, dataset].map(({ ignoreLabel }) => (ignoreLabel === undefined ? [] : [`${ignoreLabel}`])) as [
      string[],
      string[],
    ],
  };
  for (const [what, [ours, theirs]] of Object.entries(sides)) {
    if (JSON.stringify(ours) === JSON.stringify(theirs)) continue;
    throw new PlanError(
      file,
      `its ${what} (${listed(ours) || "none"}) are not those of ${dataset.folder} (${
        listed(theirs) || "none"
      }): it is of ${show(plan.dataset)}. ${fix}`,
    );
  }
}

/**
 * Validates a plan and writes it as readable JSON.
 *
 * @throws PlanError for an invalid plan, PlatformError if the file cannot be written
 * @example
 * ```ts
 * import { fingerprintDataset, makePlan, openDataset, writePlan } from "voxgrad/imaging";
 *
 * const dataset = await openDataset("data/Task04_Hippocampus");
 * await writePlan("plan.json", makePlan(dataset, await fingerprintDataset(dataset)));
 * ```
 */
export async function writePlan(path: string, plan: Plan): Promise<void> {
  await platform.writeFile(path, `${planText(checkPlan(plan, path))}\n`);
}
