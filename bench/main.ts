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
import mri from "mri";
import { type Command, type EngineId, findPython, pythonScript, script } from "./peers/asked.ts";
import { Bench, type Row } from "./peers/bench.ts";
import { items } from "./peers/items.ts";
import { report } from "./peers/report.ts";

const defaults = {
  rounds: 7,
  items: "",
  peers: "jax,tfjs,torch",
  adapter: process.env.VOXGRAD_ADAPTER ?? "",
  json: "",
};
const options = mri(process.argv.slice(2), {
  default: { ...defaults, profile: false },
  boolean: ["profile"],
  string: ["items", "peers", "adapter", "json"],
  unknown: (name) => {
    console.error(`bench: ${name} is not an option; there are --${[...Object.keys(defaults), "profile"].join(", --")}`);
    process.exit(2);
  },
});
const rounds = Number(options.rounds);
const asked = (options.peers as string).split(",").filter((name) => name !== "");
const unknown = asked.filter((name) => !["jax", "tfjs", "torch"].includes(name));
if (!(rounds >= 1) || unknown.length > 0) {
  console.error(
    `bench: --rounds is a number from 1 up, --peers some of jax,tfjs,torch; got ${options.rounds}, ${options.peers}`,
  );
  process.exit(2);
}
const words = (options.items as string).toLowerCase().split(",");
const chosen = items.filter(({ name }) => words.some((word) => name.toLowerCase().includes(word)));
if (chosen.length === 0) {
  console.error(
    `bench: no item's name holds "${options.items}"; there are\n  ${items.map((i) => i.name).join("\n  ")}`,
  );
  process.exit(2);
}

const here = fileURLToPath(new URL("peers/", import.meta.url));
if (asked.some((name) => name !== "torch") && !existsSync(join(here, "node_modules"))) {
  console.log("Installing the peers into bench/peers/node_modules");
  // A benchmark does not need their install scripts.
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  execFileSync(npm, ["ci", "--prefix", here, "--ignore-scripts", "--no-audit", "--no-fund"], {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
}

const notes: string[] = [];
const python = asked.includes("torch") ? await findPython() : null;
if (asked.includes("torch") && !python) notes.push("PyTorch: no Python with torch here");
const commands: Partial<Record<EngineId, Command>> = { ours: script("peers/child", "ours") };
for (const name of asked as EngineId[]) {
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
