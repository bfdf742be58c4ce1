// Four sites of organ phantoms, each with one organ annotated: a federation of them against one training on all of
// their data, at equal steps. Sites are missing in a fifth of the rounds. Takes a server of NATS with JetStream:
// node --import ./engine/platform/cli/register.mjs bench/experiments/federated.ts --nats nats://127.0.0.1:4222 --rounds 20
import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readNifti, writeNifti, writeOrganPhantomDataset } from "../../engine/imaging/mod.ts";
import { config, entry } from "../../engine/train/mod.ts";

const { nats, rounds, steps, cases, folder } = config({
  nats: entry("nats://127.0.0.1:4222", "server"),
  rounds: entry(20, "rounds", { integer: true, min: 1 }),
  steps: entry(8, "steps of each site in a round", { integer: true, min: 1 }),
  cases: entry(5, "patients of each site", { integer: true, min: 3 }),
  folder: entry("runs/federated", "where all of it goes"),
});
const cli = fileURLToPath(new URL("../../engine/platform/cli/voxgrad.mjs", import.meta.url));
const organs = ["liver", "spleen", "pancreas", "left kidney"];

/** Runs a command; with `log` its output goes there. */
function command(words: readonly string[], quiet = false): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...words], {
      stdio: ["ignore", quiet ? "ignore" : "inherit", "inherit"],
    });
    child.on("close", (code) => code === 0 ? resolve() : reject(new Error(`${words.join(" ")}: exit code ${code}`)));
  });
}

/** A site's folder, whose cases have one organ annotated; "test" has all. */
async function writeSite(name: string, seed: number, organ?: string): Promise<void> {
  const path = `${folder}/${name}`;
  await writeOrganPhantomDataset(path, { cases, seed, organs, shape: [32, 32, 32], spacing: [9, 9, 9] });
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
await command([
  "plan",
  `${folder}/test`,
  "--out",
  plan,
  "--preset",
  "small",
  "--patch",
  "32,32,32",
  "--features",
  "8,16,32",
]);
const sets = Object.fromEntries(organs.map((_, k) => [`site_${k}`, { folder: `site_${k}` }]));
await writeFile(
  `${folder}/group.json`,
  JSON.stringify({ name: "sites", labels: ["background", ...organs], datasets: sets }),
);

const federated = [
  command(["federate", "server", plan, "--sites", "4", "--rounds", `${rounds}`, "--steps", `${steps}`, "--nats", nats]
    .concat(["--name", "probe", "--run", `${folder}/federation`, "--overwrite", "--patience", "900"])),
  ...organs.map((_, k) =>
    command(
      ["federate", "client", "--data", `${folder}/site_${k}`, "--site", `site_${k}`, "--nats", nats]
        .concat(["--name", "probe", "--run", `${folder}/run_${k}`]),
      true,
    )
  ),
];
await Promise.all(federated);
for (const [name, run] of [["federated", "federation"]]) {
  await command(
    ["predict", `${folder}/${run}`, `${folder}/test/imagesTr`, `${folder}/${name}_labels`, "--overwrite"],
    true,
  );
  await command(["evaluate", `${folder}/${name}_labels`, `${folder}/test/labelsTr`, "--dataset", `${folder}/test`]);
}
