// Four sites of organ phantoms, each with one organ annotated, one of them a page in headless Chromium: a federation of
// them against one training on all of their data, by as many steps at the same rates, which see as many patches. A site
// is missing in a fifth of the rounds. Takes a server of NATS with JetStream and a websocket block without TLS:
// node --import ./engine/platform/cli/register.mjs bench/machines/federated.ts --nats nats://... --page ws://...
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { startServer } from "../../engine/platform/cli/serve.ts";
import { config, entry } from "../../engine/train/mod.ts";
import { launchChromium } from "../../test/browser/chromium.ts";
import { writeSites } from "../../test/jobs/sites.ts";

const { nats, page, rounds, steps, batch, cases, size, features, folder } = config({
  nats: entry("nats://127.0.0.1:4222", "server"),
  page: entry("ws://127.0.0.1:9222", "the same for pages"),
  rounds: entry(20, "rounds", { integer: true, min: 1 }),
  steps: entry(8, "steps of each site in a round", { integer: true, min: 1 }),
  batch: entry(2, "patches of a site's step", { integer: true, min: 1 }),
  cases: entry(5, "patients of each site", { integer: true, min: 3 }),
  size: entry(32, "voxels of a scan along each axis", { integer: true, min: 16 }),
  features: entry("8,16,32", "of the network"),
  folder: entry("runs/federated", "where all of it goes"),
});
const cli = fileURLToPath(new URL("../../engine/platform/cli/voxgrad.mjs", import.meta.url));
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

await mkdir(folder, { recursive: true });
await writeSites(folder, { organs, cases, size });
const plan = `${folder}/plan.json`;
const network = ["--preset", "small", "--patch", `${size},${size},${size}`, "--features", features];
await command(["plan", `${folder}/test`, "--out", plan, ...network]);
const group = {
  format: "voxgrad group 1",
  name: "Sites",
  labels: ["background", ...organs],
  sets: organs.map((_, k) => ({ data: `site_${k}` })),
};
await writeFile(`${folder}/group.json`, JSON.stringify(group));

const at = ["--nats", nats, "--name", "probe"];
// The last site is the page.
const sites = organs.slice(0, -1).map((_, k) =>
  start(
    ["federate", "client", "--data", `${folder}/site_${k}`, "--site", `site_${k}`, "--run", `${folder}/run_${k}`]
      .concat(at),
    () => undefined,
  )
);
const served = await startServer(
  fileURLToPath(new URL("../../scripts/federate.ts", import.meta.url)),
  ["client", "--site", "page", "--nats", page, "--name", "probe"],
  0,
);
const browser = await launchChromium();
const view = await browser.newPage();
await view.goto(served.url);
await view.locator("#state").filter({ hasText: "failed" }).waitFor();
await view.locator("#folder").setInputFiles(`${folder}/site_${organs.length - 1}`);
await view.locator("#again").click();
const server = ["federate", "server", plan, "--sites", "4", "--rounds", `${rounds}`, "--steps", `${steps}`]
  .concat("--batch", `${batch}`);
let stopped: (typeof sites)[number] | undefined;
await command([...server, ...at, "--run", `${folder}/federation`, "--overwrite", "--patience", "900"], (line) => {
  console.log(line);
  const [, round] = /^Round (\d+) of/.exec(line) ?? [];
  if (round === undefined) return;
  // In every fifth round one site does not answer.
  stopped?.child.kill("SIGCONT");
  stopped = Number(round) % 5 === 0 && Number(round) < rounds - 1
    ? sites[(Number(round) / 5) % sites.length]
    : undefined;
  stopped?.child.kill("SIGSTOP");
});
await Promise.all(sites.map(({ ended }) => ended));
await view.locator("#state").filter({ hasText: "done" }).waitFor({ timeout: 120_000 });
await browser.close();
await served.close();
// A step of it has a patch of each site for each of theirs.
await command(["train_partial", `${folder}/group.json`, "--plan", plan, "--steps", `${rounds * steps}`, "--fold", "all"]
  .concat([
    "--rate",
    "0.01",
    "--sets",
    "equal",
    "--batch",
    `${organs.length * batch}`,
    "--run",
    `${folder}/pooled`,
    "--overwrite",
  ]));
for (const run of ["federation", "pooled"]) {
  const out = `${folder}/${run}_labels`;
  await command(["predict", `${folder}/${run}`, `${folder}/test/imagesTr`, out, "--overwrite"], () => undefined);
  console.log(`\n${run}`);
  await command(["evaluate", out, `${folder}/test/labelsTr`, "--dataset", `${folder}/test`]);
}
