/**
 * voxgrad and PyTorch on this machine's GPU, item by item: convolutions, norms, a U-Net's training step and
 * Hessian-vector product, each in f32 and mixed precision; then every convolution kernel alone. Run, here or packed
 * (bench/gpu/pack.ts):
 *   node --import ./engine/platform/cli/register.mjs bench/gpu/gpu.ts [--size small] [--minutes 30] [--items WORD,WORD]
 *     [--rounds 5] [--adapter NAME] [--peers torch,tf32,amp] [--out FOLDER] [--no-kernels]
 * FOLDER/results.json and results.md are written after each item, kernels.txt at the end.
 */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import mri from "mri";
import { type Command, type EngineId, findPython, pythonScript, script } from "../peers/asked.ts";
import { Bench, type Row } from "../peers/bench.ts";
import { gpuReport, type GpuRun, head } from "./gpu_report.ts";
import type { Item } from "../peers/item.ts";
import { gpuItems, type Size, sizes } from "../peers/items_gpu.ts";

const defaults = {
  size: "full",
  minutes: 30,
  rounds: 5,
  items: "",
  peers: "torch,tf32,amp",
  adapter: process.env.VOXGRAD_ADAPTER ?? "",
  out: "results",
  kernels: true,
};
const usage = `gpu: takes ${
  Object.entries(defaults)
    .map(([key, value]) => (key === "kernels" ? "--no-kernels" : `--${key} ${value}`))
    .join(", ")
}`;

const options = mri(process.argv.slice(2), {
  default: defaults,
  boolean: ["kernels", "help"],
  string: ["size", "items", "peers", "adapter", "out"],
  alias: { help: "h" },
  unknown: (name) => stop(`${name} is not an option`),
}) as unknown as typeof defaults & { help?: boolean };
if (options.help) {
  console.log(usage);
  process.exit(0);
}
const peers = options.peers.split(",").filter((name) => name !== "");
if (!sizes.includes(options.size as Size)) stop(`--size is ${sizes.join(" or ")}, got ${options.size}`);
if (!(options.minutes > 0) || !(options.rounds >= 1)) stop("--minutes and --rounds are numbers above 0");
if (peers.some((name) => !["torch", "tf32", "amp"].includes(name))) stop(`--peers are of torch,tf32,amp`);
const words = options.items.toLowerCase().split(",");
const items = gpuItems(options.size as Size).filter(({ name }) => words.some((w) => name.toLowerCase().includes(w)));
if (items.length === 0) stop(`no item's name holds "${options.items}"`);

function stop(message: string): never {
  console.error(`gpu: ${message}\n${usage}`);
  process.exit(2);
}

const begin = performance.now();
const left = (): number => options.minutes * 60_000 - (performance.now() - begin);
/** A hanging driver costs at most a quarter of the time. */
const patience = (): number => Math.max(1000, Math.min(left(), options.minutes * 15_000));

const commands: Partial<Record<EngineId, Command>> = {};
for (
  const [id, precision] of [
    ["ours", "f32"],
    ["mixed", "mixed"],
  ] as const
) {
  commands[id] = script("gpu/gpu_child", precision, options.size);
}
const python = peers.length > 0 ? await findPython() : null;
if (peers.length > 0 && !python) console.log("No Python with torch here: voxgrad alone");
for (const id of python ? (peers as EngineId[]) : []) {
  commands[id] = pythonScript(python!, "gpu/gpu_torch.py", id === "torch" ? "fp32" : id);
}

await mkdir(options.out, { recursive: true });
const folder = await mkdtemp(join(tmpdir(), "voxgrad-bench-"));
const small = options.size === "small";
const bench = new Bench({
  folder,
  rounds: options.rounds,
  adapter: options.adapter,
  profile: false,
  commands,
  turn: small ? 40 : 200,
  queued: 40,
  patience,
  // Single gradients of a network in f16; a step skipped after an overflow is off by 1.
  tolerance: { tf32: 2e-2, mixed: 0.3, amp: 0.3 },
  // The gradient of a bias before a norm is pure rounding error.
  floor: 1e-3,
});
const rows: Row[] = [];
const state = (): GpuRun => ({
  date: new Date().toISOString().slice(0, 16).replace("T", " "),
  size: options.size,
  node: process.version,
  cpu: `${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} used`,
  rounds: options.rounds,
  engines: bench.engines as GpuRun["engines"],
  rows,
  problems: bench.problems,
});

/** Files are written atomically, so that they are complete if the process is killed. */
async function write(name: string, text: string): Promise<void> {
  const file = join(options.out, name);
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
}
async function save(): Promise<void> {
  await write("results.json", JSON.stringify(state(), null, 1));
  await write("results.md", gpuReport(state()));
}

/** A skipped item, with the reason. */
function skipped(item: Item, cannot: string): Row {
  const results = Object.fromEntries(Object.keys(bench.engines).map((id) => [id, { times: [], cannot }]));
  return { name: item.name, goal: {}, results, facts: {} };
}

/**
 * The convolution kernels alone: every variant, or with small sizes a few defaults. The output goes to the terminal and
 * to kernels.txt.
 */
async function kernels(): Promise<void> {
  const [program, ...args] = script(
    "probes/conv_kernels",
    ...(small ? ["--shape", "32-32", "--repeats", "2"] : ["--every"]),
  );
  const env = options.adapter ? { ...process.env, VOXGRAD_ADAPTER: options.adapter } : process.env;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env });
  const file = createWriteStream(join(options.out, "kernels.txt"));
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      process.stdout.write(data);
      file.write(data);
    });
  }
  const timer = setTimeout(() => child.kill("SIGKILL"), Math.max(0, left()));
  const code = await new Promise((resolve) => child.on("close", (status, signal) => resolve(status ?? signal)));
  clearTimeout(timer);
  if (code !== 0) bench.problems.push(`the kernels by themselves ended early (${code}); see kernels.txt`);
  await new Promise<void>((resolve) => file.end(resolve));
}

try {
  await bench.open();
  console.log(head(state()));
  await save();
  for (const [k, item] of items.entries()) {
    console.log(`${k + 1}/${items.length} ${item.name} (${(left() / 60_000).toFixed(1)} minutes left)`);
    try {
      rows.push(left() > 0 ? await bench.measure(item) : skipped(item, "the time was over"));
    } catch (error) {
      rows.push(skipped(item, (error as Error).message));
    }
    await save();
  }
} finally {
  await bench.close();
  await rm(folder, { recursive: true, force: true });
}
if (options.kernels && left() > 0) await kernels();
await save();
console.log(
  `\n${gpuReport(state())}\nWritten to ${options.out} in ${((performance.now() - begin) / 60_000).toFixed(1)} minutes`,
);
