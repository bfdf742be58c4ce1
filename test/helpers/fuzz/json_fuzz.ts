// deno-lint-ignore-file no-explicit-any
// Fuzzes readers with damaged and hostile JSON files: each must be read, or
// rejected by an error of the engine with a message below 2 kB without control characters; nothing else may change, and
// nothing may be written elsewhere. The test run uses a few hundred; more by hand: node --import
// ./engine/platform/cli/register.mjs test/helpers/fuzz/json_fuzz.ts 20000 [SEED]
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve, sep } from "node:path";
import { platform } from "#platform";
import { VoxgradError } from "../../../engine/mod.ts";
import {
  checkDataset,
  kFold,
  makeVolume,
  openDataset,
  openLabelNames,
  type Plan,
  Prng,
  readPlan,
  scaling,
  storeFolder,
  writeNifti,
} from "../../../engine/imaging/mod.ts";
import { checkSplits } from "../../../engine/imaging/dataset/split.ts";
import {
  checkPostprocessing,
  ConfigError,
  JsonLines,
  loadModel,
  readJson,
  resumableConfig,
  RunFolder,
  trainingEntries,
} from "../../../engine/train/mod.ts";
// Registers the networks that plans name.
import "../../../models/mod.ts";
import { PlatformError } from "../../../engine/platform/types.ts";
import { planFor } from "../plans.ts";

export const KINDS = ["dataset", "group", "plan", "splits", "config", "model", "postprocessing", "log"] as const;
type Kind = (typeof KINDS)[number];

export interface Tally {
  /** Counts by kind. */
  readonly read: Record<string, number>;
  readonly refused: Record<string, number>;
  readonly faults: string[];
  /** Bytes of the longest message. */
  longest: number;
}

const IDS = ["c0", "c1", "c2"];
const PLAN: Plan = planFor({});
const LABELS = { background: 0, a: 1, b: 2 };

/** A valid document of a kind, drawn for each input. */
function seedOf(kind: Kind, random: Prng): unknown {
  const training = IDS.map((id) => ({ image: `./imagesTr/${id}.nii`, label: `./labelsTr/${id}.nii` }));
  switch (kind) {
    case "dataset":
      return {
        name: "Made",
        channel_names: { 0: "CT" },
        labels: LABELS,
        numTraining: 3,
        file_ending: ".nii",
        ...[
          { training, test: ["./imagesTs/t.nii"] },
          {
            dataset: Object.fromEntries(
              IDS.map((id) => [id, { images: [`imagesTr/${id}.nii`], label: `labelsTr/${id}.nii` }]),
            ),
          },
          { labels: { background: 0, whole: [1, 2], b: 2 }, regions_class_order: [1, 2] },
          { labels_present: { c0: ["a"] } },
        ][random.integer(4)],
      };
    case "group":
      return {
        format: "voxgrad group 1",
        name: "Group",
        labels: ["background", "a", "b"],
        sets: [{ data: "set" }, {
          data: "set",
          name: "other",
          labels: { a: ["a", "b"], b: null },
          present: ["a"],
          cases: ["c0"],
        }],
      };
    case "plan":
      return structuredClone(PLAN);
    case "splits":
      return [{ train: ["c0", "c1"], val: ["c2"] }, { train: ["c2"], val: ["c0", "c1"] }];
    case "config":
      return {
        options: { data: "data", seed: 3, steps: 100, epoch: 50, folds: 5, fold: "0" },
        voxgrad: "0.1.0",
        script: "x.ts",
      };
    case "model":
      return {
        format: "voxgrad model 1",
        network: "plainConvUNet",
        architecture: { features: [4, 8] },
        plan: structuredClone(PLAN),
      };
    case "postprocessing":
      return {
        format: "voxgrad postprocessing 1",
        keepLargest: [{ name: "a", values: [1] }],
        cases: 3,
        before: { a: 0.5 },
      };
    case "log":
      return Array.from({ length: 6 }, (_, step) => ({ step: step + 1, loss: 0.5, rate: 0.01 }));
  }
}

const KEYS = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "valueOf",
  "",
  "0",
  "-1",
  "../../x",
  "a\u0000b",
  "\u001b[2J",
  "\ud800",
  "x".repeat(5000),
  "ignore",
  "length",
  "then",
  "$ref",
  "label\nError: forged",
];

function nested(depth: number, random: Prng): unknown {
  let value: unknown = random.integer(2) ? 1 : "x";
  for (let k = 0; k < depth; k++) value = random.integer(2) ? [value] : { a: value };
  return value;
}

function hostile(random: Prng): unknown {
  const values: (() => unknown)[] = [
    () => null,
    () => true,
    () => 0,
    () => -1,
    () => 1.5,
    () => 1e308,
    () => 2 ** 53,
    () => "",
    () => [],
    () => ({}),
    () => KEYS[random.integer(KEYS.length)],
    () => "x".repeat(random.integer(20_000)),
    () => "\u001b]0;title\u0007".repeat(random.integer(500)),
    () => nested(random.integer(60), random),
    () => Array.from({ length: random.integer(400) }, () => random.integer(300)),
    () => Array.from({ length: random.integer(300) }, (_, k) => `${KEYS[random.integer(KEYS.length)]}${k}`),
    () => ({ [KEYS[random.integer(KEYS.length)]]: hostile(random) }),
    () => [[[]]],
    () => "漢".repeat(random.integer(3000)),
    () => "../../../../elsewhere/outside",
    () => "/etc/passwd",
    () => "C:\\x\\y",
    () => "$HOME/x",
    () => IDS[random.integer(3)],
    () => NaN,
  ];
  return values[random.integer(values.length)]();
}

/** A path into a document: the object or list, and a key of it. */
function places(value: unknown, found: [any, string][] = []): [any, string][] {
  if (typeof value !== "object" || value === null) return found;
  for (const [key, inner] of Object.entries(value)) {
    found.push([value, key]);
    places(inner, found);
  }
  return found;
}

const define = (object: object, key: string, value: unknown): void =>
  void Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });

function damaged(seed: unknown, random: Prng): unknown {
  const document = { root: seed };
  for (let edits = random.integer(3); edits > 0; edits--) {
    const all = places(document);
    if (all.length === 0) break;
    const [object, key] = all[random.integer(all.length)];
    const kind = random.integer(6);
    if (kind < 3) define(object, key, hostile(random));
    else if (kind === 3) Array.isArray(object) ? object.splice(Number(key), 1) : delete object[key];
    else if (kind === 4 && !Array.isArray(object)) define(object, KEYS[random.integer(KEYS.length)], hostile(random));
    else {
      // Replaces one value by another.
      const [from, other] = all[random.integer(all.length)];
      define(object, key, structuredClone(from[other]));
    }
  }
  return document.root;
}

function textOf(document: unknown, random: Prng): string {
  const text = JSON.stringify(document) ?? "";
  const at = random.integer(text.length + 1);
  const insert = (what: string): string => text.slice(0, at) + what + text.slice(at);
  switch (random.integer(24)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return insert([...'{}[]",:0\\ \u0000\uFEFF'][random.integer(12)]);
    case 2:
      return insert(["NaN", "1e999", "-", "//", "\u001b[31m", "\\u0000", "null", "__proto__"][random.integer(8)]);
    case 3:
      return text.slice(0, at) + text.slice(at + 1 + random.integer(4));
    case 4:
      return text.replace(/"([^"\\]*)":/, (whole) => `${whole}1,${whole}`);
    case 5:
      return (random.integer(2) ? "[" : '{"a":').repeat(random.integer(1e5)) + text;
    case 6:
      return "\uFEFF" + text;
    default:
      return text;
  }
}

/** A name of 100 MB. */
const huge = (kind: Kind): string =>
  `{"format": "voxgrad ${kind} 1", "labels": {"background": 0, "${"x".repeat(1e8)}": 1}, "channel_names": {"0": "CT"}}`;

function bytesOf(kind: Kind, text: string, header: "text" | "document"): Uint8Array {
  if (kind !== "model") return new TextEncoder().encode(text);
  // The description in a header of safetensors, or the header itself.
  const weights = { w: { dtype: "F32", shape: [1], data_offsets: [0, 4] } };
  const head = new TextEncoder().encode(
    header === "text" ? JSON.stringify({ __metadata__: { voxgrad: text }, ...weights }) : text,
  );
  const padded = Math.ceil(head.length / 8) * 8;
  const file = new Uint8Array(8 + padded + 4).fill(32, 8, 8 + padded);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.set(head, 8);
  return file;
}

/** Whether a name is a single path segment; written independently of the engine. */
const isSegment = (id: string): boolean =>
  id !== "" && id !== "." && id !== ".." && ![...id].some((c) =>
    c === "/" || c === "\\" || c < " " || c === "\u007f"
  ) && Buffer.byteLength(id) <= 255;

async function use(kind: Kind, folder: string, file: string): Promise<void> {
  switch (kind) {
    case "dataset":
    case "group": {
      const path = kind === "group" ? file : folder;
      const told: string[] = [];
      const dataset = await openDataset(path, ({ message }) => void told.push(message));
      told.forEach(checkMessage);
      for (const { id } of [...dataset.cases, ...dataset.testCases]) {
        if (!isSegment(id)) throw new Error(`an id leads elsewhere: ${JSON.stringify(id)}`);
      }
      const store = storeFolder("cache", dataset, PLAN);
      if (!/^cache\/[^/\\]+$/.test(store)) throw new Error(`the store leads elsewhere: ${store}`);
      if (dataset.cases.length > 1) kFold(dataset.cases.map(({ id }) => id), { folds: 2 });
      await openLabelNames(file);
      for (const { problem, fix } of (await checkDataset(path)).slice(0, 20)) [problem, fix].forEach(checkMessage);
      return;
    }
    case "plan":
      return void (await readPlan(file));
    case "splits":
      return void checkSplits(await readJson(file), IDS, file);
    case "config":
      return void (await resumableConfig(trainingEntries, { change: ["steps"] }, ["--resume", folder]));
    case "model":
      return void (await loadModel(file));
    case "postprocessing":
      return void checkPostprocessing(await readJson(file), file);
    case "log": {
      const isRecord = (value: any): boolean => Number.isInteger(value?.step);
      return void (await new JsonLines<{ step: number }>(new RunFolder(folder), "log.jsonl").resume(
        ({ step }) => step <= 4,
        isRecord,
      ));
    }
  }
}

const FILES: Record<Kind, string> = {
  dataset: "dataset.json",
  group: "group.json",
  plan: "plan.json",
  splits: "splits.json",
  config: "config.json",
  model: "model.safetensors",
  postprocessing: "postprocessing.json",
  log: "log.jsonl",
};

let longest = 0;
function checkMessage(message: string): void {
  const bytes = Buffer.byteLength(message);
  longest = Math.max(longest, bytes);
  if (bytes > 2048) throw new Error(`a message of ${bytes} bytes: ${message.slice(0, 200)}`);
  // deno-lint-ignore no-control-regex
  if (/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(message)) {
    throw new Error(`a message with control characters: ${JSON.stringify(message.slice(0, 200))}`);
  }
}

/** Observable pollution of prototypes. */
const prototypes = (): string => {
  const seen: string[] = [];
  for (const key in {} as object) seen.push(key);
  return [Object.prototype, Array.prototype, Function.prototype, Map.prototype].map((each) =>
    Reflect.ownKeys(each).map(String).join()
  ).join(";") + seen.join();
};

/** Reads `count` files; deterministic by seed. Every 2500th has 100 MB; `large` adds one at the start. */
export async function fuzz(count: number, options: { seed?: number; large?: boolean } = {}): Promise<Tally> {
  const { seed = 1, large = false } = options;
  const root = mkdtempSync(join(tmpdir(), "voxgrad-json-"));
  const none = (): Record<string, number> => Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  const tally: Tally = { read: none(), refused: none(), faults: [], longest: 0 };
  const folders = Object.fromEntries(KINDS.map((kind) => [kind, join(root, kind)])) as Record<Kind, string>;
  const image = writeNifti(
    makeVolume(Uint8Array.from({ length: 27 }, (_, k) => k % 3), { shape: [3, 3, 3], affine: scaling([1, 1, 1]) }),
  );
  for (const folder of [folders.dataset, join(folders.group, "set")]) {
    for (const name of IDS.flatMap((id) => [`imagesTr/${id}.nii`, `imagesTr/${id}_0000.nii`, `labelsTr/${id}.nii`])) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), image);
    }
  }
  writeFileSync(
    join(folders.group, "set/dataset.json"),
    JSON.stringify({ channel_names: { 0: "CT" }, labels: LABELS }),
  );
  for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true });

  // Nothing is written outside the folder of a kind.
  const outside: string[] = [];
  const host = platform as any;
  const real = { writeFile: host.writeFile, appendFile: host.appendFile, log: host.log, progress: host.progress };
  for (const name of ["writeFile", "appendFile"] as const) {
    host[name] = (path: string, data: unknown) => {
      if (!resolve(path).startsWith(root + sep)) outside.push(path);
      return real[name].call(host, path, data);
    };
  }
  host.log = host.progress = () => undefined;
  const before = prototypes();
  longest = 0;
  try {
    const all = new Prng(seed);
    for (let round = 0; round < count; round++) {
      const random = all.fork(round);
      const kind = KINDS[round % KINDS.length];
      const [folder, file] = [folders[kind], join(folders[kind], FILES[kind])];
      const isLarge = (large && round < 1) || round % 2500 === 2499;
      const document = kind === "log"
        ? (seedOf(kind, random) as unknown[]).map((each) =>
          textOf(random.integer(3) ? each : damaged(each, random), random)
        ).join("\n") + "\n"
        : undefined;
      const text = isLarge ? huge(kind) : (document ?? textOf(damaged(seedOf(kind, random), random), random));
      writeFileSync(file, bytesOf(kind, text, random.integer(3) ? "text" : "document"));
      const name = `input ${round} of seed ${seed} (${kind})`;
      try {
        await use(kind, folder, file);
        tally.read[kind]++;
      } catch (error) {
        tally.refused[kind]++;
        if (process.env.SHOW === kind) console.error((error as Error).message.slice(0, 200));
        const known = error instanceof VoxgradError || error instanceof PlatformError || error instanceof ConfigError;
        if (!known) tally.faults.push(`${name}: ${(error as Error).stack?.slice(0, 1500)}`);
        else {
          try {
            checkMessage(error.message);
          } catch (fault) {
            tally.faults.push(`${name}: ${(fault as Error).message}`);
          }
        }
      }
      if (prototypes() !== before) {
        tally.faults.push(`${name}: a prototype was changed`);
        break;
      }
      for (const path of outside.splice(0)) tally.faults.push(`${name}: wrote ${path}`);
      if (isLarge) rmSync(file);
    }
  } finally {
    Object.assign(host, real);
    rmSync(root, { recursive: true, force: true });
  }
  tally.longest = longest;
  return tally;
}

if (process.argv[1]?.endsWith("json_fuzz.ts")) {
  const [count = "20000", seed = "1"] = process.argv.slice(2);
  const started = performance.now();
  const tally = await fuzz(Number(count), { seed: Number(seed), large: true });
  console.log(
    { ...tally, faults: tally.faults.slice(0, 20) },
    `${tally.faults.length} faults, ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  process.exitCode = tally.faults.length > 0 ? 1 : 0;
}
