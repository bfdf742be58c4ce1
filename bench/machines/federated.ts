// Four sites of organ phantoms, each with one organ annotated: a federation of them against one training on all of
// their data, at equal steps. Sites are missing in a fifth of the rounds. Takes a server of NATS with JetStream:
// node --import ./engine/platform/cli/register.mjs bench/machines/federated.ts --nats nats://127.0.0.1:4222 --rounds 20
import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { readNifti, writeNifti, writeOrganPhantomDataset } from "../../engine/imaging/mod.ts";
import { config, entry } from "../../engine/train/mod.ts";

const { nats, rounds, steps, cases, size, folder } = config({
  nats: entry("nats://127.0.0.1:4222", "server"),
  rounds: entry(20, "rounds", { integer: true, min: 1 }),
  steps: entry(8, "steps of each site in a round", { integer: true, min: 1 }),
  cases: entry(5, "patients of each site", { integer: true, min: 3 }),
  size: entry(32, "voxels of a scan along each axis", { integer: true, min: 16 }),
  folder: entry("runs/federated", "where all of it goes"),
});
const cli = fileURLToPath(new URL("../../engine/platform/cli/voxgrad.mjs", import.meta.url));
const spacing = 288 / size;
const organs = ["liver", "spleen", "pancreas", "left kidney"];

/** Runs a command; `told` gets its lines instead of the terminal. */
function start(words: readonly string[], told?: (line: string) => void) {
  const child = spawn(process.execPath, [cli, ...words], { stdio: ["ignore", told ? "pipe" : "inherit", "inherit"] });
  if (told) createInterface({ input: child.stdout! }).on("line", told);
  const ended = new Promise<void>((resolve, reject) => {
    child.on("close", (code) => code === 0 ? resolve() : reject(new Error(`${words.join(" ")}: exit code ${code}`)));
  });
  return { child, ended };
}
const command = (words: readonly string[], told?: (line: string) => void): Promise<void> => start(words, told).ended;

/** A site's folder, whose cases have one organ annotated; "test" has all. */
async function writeSite(name: string, seed: number, organ?: string): Promise<void> {
  const path = `${folder}/${name}`;
  await writeOrganPhantomDataset(path, {
    cases,
    seed,
    organs,
    shape: [size, size, size],
    spacing: [spacing, spacing, spacing],
  });
  if (organ === undefined) return;
  const value = organs.indexOf(organ) + 1;
  for (const file of readdirSync(`${path}/labelsTr`)) {
    const label = readNifti(new Uint8Array(await readFile(`${path}/labelsTr/${file}`)));
    const data = Uint8Array.from(label.data, (each) => each === value ? value : 0);
    await writeFile(`${path}/labelsTr/${file}`, writeNifti({ ...label, data }, { gzip: true }));
  }
  const json = JSON.parse(await readFile(`${path}/dataset.json`, "utf8"));
  for (const item of json.training) item.labels_present = [organ];
  await writeFile(`${path}/dataset.json`, JSON.stringify(json));
}

await mkdir(folder, { recursive: true });
for (const [k, organ] of organs.entries()) await writeSite(`site_${k}`, 10 + k, organ);
await writeSite("test", 99);
const plan = `${folder}/plan.json`;
const network = ["--preset", "small", "--patch", `${size},${size},${size}`, "--features", "8,16,32"];
await command(["plan", `${folder}/test`, "--out", plan, ...network]);
const group = {
  format: "voxgrad group 1",
  name: "Sites",
  labels: ["background", ...organs],
  sets: organs.map((_, k) => ({ data: `site_${k}` })),
};
await writeFile(`${folder}/group.json`, JSON.stringify(group));

const at = ["--nats", nats, "--name", "probe"];
const sites = organs.map((_, k) =>
  start(
    ["federate", "client", "--data", `${folder}/site_${k}`, "--site", `site_${k}`, "--run", `${folder}/run_${k}`]
      .concat(at),
    () => undefined,
  )
);
const server = ["federate", "server", plan, "--sites", "4", "--rounds", `${rounds}`, "--steps", `${steps}`];
let stopped: (typeof sites)[number] | undefined;
await command([...server, ...at, "--run", `${folder}/federation`, "--overwrite", "--patience", "900"], (line) => {
  console.log(line);
  const [, round] = /^Round (\d+) of/.exec(line) ?? [];
  if (round === undefined) return;
  // In every fifth round one site does not answer.
  stopped?.child.kill("SIGCONT");
  stopped = Number(round) % 5 === 0 && Number(round) < rounds - 1 ? sites[(Number(round) / 5) % 4] : undefined;
  stopped?.child.kill("SIGSTOP");
});
await Promise.all(sites.map(({ ended }) => ended));
await command(["train_partial", `${folder}/group.json`, "--plan", plan, "--steps", `${rounds * steps}`, "--fold", "all"]
  .concat(["--rate", "0.01", "--sets", "equal", "--run", `${folder}/pooled`, "--overwrite"]));
for (const run of ["federation", "pooled"]) {
  const out = `${folder}/${run}_labels`;
  await command(["predict", `${folder}/${run}`, `${folder}/test/imagesTr`, out, "--overwrite"], () => undefined);
  console.log(`\n${run}`);
  await command(["evaluate", out, `${folder}/test/labelsTr`, "--dataset", `${folder}/test`]);
}
