/**
 * The GPU hour in ten minutes: do all operators hold, what does the adapter offer, and how fast are operators, networks,
 * nnU-Net's epochs and tuned kernels, beside PyTorch where there is one. Run from a bundle: `npm run bench:gpu`, or
 * packed (bench/gpu/pack.ts). FOLDER/results.md, results.json and profiles.txt are written after each measurement.
 */
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import mri from "mri";
import { type Command, EngineError, type EngineId, findPython, pythonScript, script } from "../peers/asked.ts";
import { Bench } from "../peers/bench.ts";
import type { Size } from "../peers/items_gpu.ts";
import { gpuReport, head, profiles } from "./gpu_report.ts";
import type { GpuRun } from "./gpu_run.ts";
import { askAdapter, endOf, type StageName, stages } from "./stages.ts";

const defaults = {
  minutes: 10,
  rounds: 3,
  items: "",
  stages: Object.keys(stages).join(","),
  peers: "torch,tf32,amp,last",
  adapter: process.env.VOXGRAD_ADAPTER ?? "",
  out: "results",
  small: false,
};
const usage = `takes ${
  Object.entries(defaults)
    .map(([key, value]) => (value === false ? `--${key}` : `--${key} ${value}`))
    .join(", ")
}; --small is meant on a CPU`;

const options = mri(process.argv.slice(2), {
  default: defaults,
  boolean: ["small", "help"],
  string: ["items", "stages", "peers", "adapter", "out"],
  alias: { help: "h" },
  unknown: (name) => stop(`${name} is not an option`),
}) as unknown as typeof defaults & { help?: boolean };
if (options.help) {
  console.log(`gpu: ${usage}`);
  process.exit(0);
}
const listed = (text: string): string[] => text.split(",").filter((word) => word !== "");
const peers = listed(options.peers);
const asked = listed(options.stages) as StageName[];
if (!(options.minutes > 0) || !(options.rounds >= 1)) stop("--minutes and --rounds are numbers above 0");
if (peers.some((name) => !["torch", "tf32", "amp", "last"].includes(name))) stop("--peers are of torch,tf32,amp,last");
if (asked.some((name) => !(name in stages))) stop(`--stages are of ${defaults.stages}`);

function stop(message: string): never {
  console.error(`gpu: ${message}\n${usage}`);
  process.exit(2);
}

const begin = performance.now();
const total = options.minutes * 60_000;
const elapsed = (): number => performance.now() - begin;

// For all processes of voxgrad.
if (options.adapter) process.env.VOXGRAD_ADAPTER = options.adapter;
const facts = await askAdapter(total / 4).catch((error: Error) => {
  console.error(`gpu: no adapter: ${error.message}`);
  process.exit(1);
});
const small = options.small || facts.kind === "software";
const size: Size = small ? "small" : "full";
/** A tenth of the time at most, for a hang must not cost more; a CPU compiles slowly. */
const silence = Math.max(facts.kind === "software" ? 120_000 : 20_000, total / 10);

const python = peers.length > 0 ? await findPython() : null;
const noTorch = python ? null : peers.length > 0 ? "no Python with torch here" : "left out by --peers";
const commands: Partial<Record<EngineId, Command>> = {
  ours: script("gpu/gpu_child", "f32", size),
  ...(facts.features.includes("shader-f16") ? { mixed: script("gpu/gpu_child", "mixed", size) } : {}),
};
for (const id of python ? (peers as EngineId[]) : []) {
  commands[id] = pythonScript(python!, "gpu/gpu_torch.py", id === "torch" ? "fp32" : id);
}

const run: GpuRun = {
  date: new Date().toISOString().slice(0, 16).replace("T", " "),
  small,
  minutes: options.minutes,
  node: process.version,
  cpu: `${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} used`,
  kernels: process.env.VOXGRAD_KERNELS ?? "",
  facts,
  noTorch,
  roofs: { error: "not measured" },
  engines: {},
  checks: [],
  operators: [],
  networks: [],
  epochs: [],
  tunings: [],
  problems: [],
  took: 0,
};

await mkdir(options.out, { recursive: true });
// Tuned choices are kept beside the results.
process.env.VOXGRAD_CACHE ??= resolve(options.out);

/** Files are written atomically, so that they are complete if the process is killed. */
async function write(name: string, text: string): Promise<void> {
  const file = join(options.out, name);
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
}
async function save(): Promise<void> {
  run.took = elapsed() / 60_000;
  await write("results.json", JSON.stringify(run, null, 1));
  await write("results.md", gpuReport(run));
  await write("profiles.txt", profiles(run));
}

const folder = await mkdtemp(join(tmpdir(), "voxgrad-bench-"));
const bench = new Bench({
  folder,
  rounds: options.rounds,
  adapter: options.adapter,
  profile: false,
  commands,
  turn: small ? 40 : 150,
  queued: 40,
  // Whoever is asked when a stage ends may answer still.
  patience: () => Math.max(5000, Math.min(total - elapsed(), silence)),
  // Single gradients of a network in f16; a step skipped after an overflow is off by 1.
  tolerance: { tf32: 2e-2, mixed: 0.3, amp: 0.3, last: 0.3 },
  // The gradient of a bias before a norm is pure rounding error.
  floor: 1e-3,
  problems: run.problems,
});
console.log(head(run));
await save();
const words = options.items === "" ? [""] : listed(options.items.toLowerCase());
/** The stages that need the engines. */
const measured: readonly StageName[] = ["operators", "networks", "epochs", "tuning"];
try {
  for (const name of Object.keys(stages) as StageName[]) {
    if (!asked.includes(name)) continue;
    const left = (): number => endOf(name, asked) * total - elapsed();
    console.log(`\n${name} (${(Math.max(0, left()) / 1000).toFixed(0)} s)`);
    try {
      if (measured.includes(name) && Object.keys(bench.engines).length === 0) {
        await bench.open();
        run.engines = bench.engines;
      }
      await stages[name].run({ run, bench, size, words, left, silence, save, log: console.log });
    } catch (error) {
      // One stage must not cost the others.
      run.problems.push(`${name}: ${error instanceof EngineError ? error.message : (error as Error).stack}`);
      await save();
    }
  }
} finally {
  await bench.close();
  await rm(folder, { recursive: true, force: true });
}
await save();
console.log(`\n${gpuReport(run)}\nWritten to ${options.out} in ${run.took.toFixed(1)} minutes`);
process.exit(0);
