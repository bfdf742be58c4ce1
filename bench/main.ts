/**
 * voxgrad against jax-js, TensorFlow.js and PyTorch: the same inputs, the same adapter, one process per engine,
 * measured in turn over several rounds. Run: npm run bench -- [--rounds 7] [--items WORD,WORD] [--peers jax,tfjs,torch]
 * [--adapter NAME] [--json FILE] [--profile]
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BenchOptions, readOptions } from "./options.ts";
import { type Command, type EngineId, findPython, pythonScript, script } from "./peers/asked.ts";
import { Bench, type Row } from "./peers/bench.ts";
import { report } from "./peers/report.ts";

let options: BenchOptions;
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  console.error(`bench: ${(error as Error).message}`);
  process.exit(2);
}
const { rounds, chosen, peers } = options;

const here = fileURLToPath(new URL("peers/", import.meta.url));
if (peers.some((name) => name !== "torch") && !existsSync(join(here, "node_modules"))) {
  console.log("Installing the peers into bench/peers/node_modules");
  // A benchmark does not need their install scripts.
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  execFileSync(npm, ["ci", "--prefix", here, "--ignore-scripts", "--no-audit", "--no-fund"], {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
}

const notes: string[] = [];
const python = peers.includes("torch") ? await findPython() : null;
if (peers.includes("torch") && !python) notes.push("PyTorch: no Python with torch here");
const commands: Partial<Record<EngineId, Command>> = { ours: script("peers/child", "ours") };
for (const name of peers as EngineId[]) {
  if (name !== "torch") commands[name] = script("peers/child", name);
  else if (python) commands.torch = pythonScript(python, "peers/torch_child.py");
}

const folder = await mkdtemp(join(tmpdir(), "voxgrad-bench-"));
const bench = new Bench({ folder, rounds, adapter: options.adapter, profile: options.profile, commands });
const rows: Row[] = [];
try {
  const load = loadavg()[0];
  await bench.open();
  for (const [k, item] of chosen.entries()) {
    console.log(`${k + 1}/${chosen.length} ${item.name}`);
    rows.push(await bench.measure(item));
  }
  const machine = {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    cpu: `${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} used`,
    load,
    rounds,
    engines: bench.engines,
  };
  console.log(`\n${report(rows, machine, [...notes, ...bench.problems])}`);
  if (options.json) await writeFile(options.json, JSON.stringify({ ...machine, notes, rows }, null, 1));
} finally {
  await bench.close();
  await rm(folder, { recursive: true, force: true });
}
