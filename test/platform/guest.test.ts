// The library in a program of somebody else: what it reads of its process, changes in it, and says.
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { root, runDeno } from "../deno/harness.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-guest-"));
test.after(() => rm(folder, { recursive: true, force: true }));
const entry = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

/** A program that looks at its process before, during and after it uses the library. */
const program = `
import { writeFileSync } from "node:fs";
import process from "node:process";
import { Worker } from "node:worker_threads";
// In Deno the first use of these adds a global and listeners of its own.
import "node:module";
await new Worker("", { eval: true }).terminate();
const look = () => ({
  globals: Reflect.ownKeys(globalThis).map(String).sort(),
  timers: [setImmediate, setTimeout, queueMicrotask, console.log].map(String),
  env: Object.entries(process.env).map((entry) => entry.join("=")).sort(),
  argv: [...process.argv],
  exitCode: process.exitCode ?? null,
  listeners: [process, process.stdout, process.stderr].map((each) =>
    each.eventNames().map((name) => [String(name), each.listenerCount(name)])
  ),
});
const events = [];
const { addEventListener } = globalThis;
globalThis.addEventListener = (type) => events.push(type);
const looks = { before: look() };
const vg = await import(${entry("engine/mod.ts")});
const imaging = await import(${entry("engine/imaging/mod.ts")});
const nn = await import(${entry("engine/nn/mod.ts")});
const train = await import(${entry("engine/train/mod.ts")});
const models = await import(${entry("models/mod.ts")});
looks.imported = look();

const x = vg.random.normal(vg.random.key(1), { shape: [1, 1, 8, 8, 8] });
const slope = vg.compile((w) => vg.grad((w) => vg.conv3d(x, w, { padding: 1 }).square().sum())(w));
const environments = new Set();
const watch = setInterval(() => environments.add(look().env.join()));
const computing = slope(vg.ones([2, 1, 3, 3, 3]));
looks.computing = look();
await (await computing).data();
clearInterval(watch);
looks.computed = look();

await imaging.writePhantomDataset("data", { cases: 2, seed: 1, shape: [24, 24, 24] });
const options = train.withDefaults(train.trainingEntries, {
  data: "data", run: "run", cache: "prepared", steps: 2, folds: 2, patch: [16, 16, 16], features: [2, 4], workers: 1, augment: "none",
});
vg.setHost({ log: () => undefined });
const training = await train.openTraining(options);
const model = models.networkFromPlan(training.plan);
const lossOf = (params, { image, label }) => {
  const logits = model.apply(params, image);
  return [nn.diceCrossEntropy(logits, label), logits];
};
const step = vg.compile((params, batch, rate) => {
  const [[loss, logits], grads] = vg.valueAndGrad(lossOf, { hasAux: true })(params, batch);
  const next = vg.tree.map(params, (p, path) => p.sub(vg.tree.flatten(grads).get(path).mul(rate)));
  return [next, train.stepMetrics(loss, logits, batch.label)];
});
const network = { network: training.plan.network.name, architecture: models.architectureOf(training.plan) };
await train.runFolds(training, { model: { ...network, plan: training.plan }, config: {} }, () => ({
  state: { params: model.init(vg.random.key(1)) },
  training: {
    rate: () => 1e-2,
    step: async ({ params }, batch, rate, k) => {
      if (k === 2) looks.training = look();
      const [next, metrics] = await step(params, batch, rate);
      return [{ params: next }, metrics];
    },
    program: () => step,
  },
  segment: ({ params }) => train.segmenter(model, params, { plan: training.plan }),
}));
looks.trained = look();
const opened = await models.openModel("run");
const { labels } = await opened.segment(imaging.phantomCase({ seed: 4, shape: [24, 24, 24] }).image);
looks.segmented = look();
await vg.closeDevice();
looks.closed = look();
globalThis.addEventListener = addEventListener;
writeFileSync("looks.json", JSON.stringify({ looks, events, environments: environments.size }));
`;

interface Look {
  readonly globals: string[];
  readonly [key: string]: unknown;
}

async function checkLooks(place: string): Promise<void> {
  const { looks, events, environments } = JSON.parse(await readFile(join(place, "looks.json"), "utf8")) as {
    looks: Record<string, Look>;
    events: string[];
    environments: number;
  };
  const { before, ...later } = looks;
  assert.equal(events, []);
  assert.is(environments, 1, "the environment changed while a device was opened");
  assert.equal(Object.keys(later), ["imported", "computing", "computed", "training", "trained", "segmented", "closed"]);
  const text = (value: unknown): string[] => [value].flat().map((each) => JSON.stringify(each));
  for (const [moment, look] of Object.entries(later)) {
    for (const [what, value] of Object.entries(look)) {
      const [old, now] = [text(before[what]), text(value)];
      const gone = old.filter((each) => !now.includes(each));
      const added = now.filter((each) => !old.includes(each));
      assert.equal({ moment, what, gone, added }, { moment, what, gone: [], added: [] });
    }
  }
}

test("voxgrad as a library of a Node program touches nothing of it, and says nothing", async () => {
  const place = join(folder, "node");
  await mkdir(place);
  await writeFile(join(place, "program.mjs"), program);
  const register = new URL("../../engine/platform/cli/register.mjs", import.meta.url).href;
  const words = ["--import", register, "program.mjs", "--profile", "x.json", "--tune", "--help"];
  const env = { ...process.env, VOXGRAD_CACHE: join(folder, "cache") };
  const child = spawn(process.execPath, words, { cwd: place, env, stdio: ["ignore", "pipe", "pipe"] });
  const said = { out: "", err: "" };
  child.stdout.on("data", (data) => (said.out += data));
  child.stderr.on("data", (data) => (said.err += data));
  const code = await new Promise((resolve) => child.on("close", resolve));
  // Dawn writes this of every driver on the CPU, past its logging callbacks.
  const err = said.err.replace(/^Warning: maxDynamic.*limit\.\n/gm, "");
  assert.equal({ code, out: said.out, err }, { code: 0, out: "", err: "" });
  await checkLooks(place);
  assert.equal((await readdir(place)).sort(), ["data", "looks.json", "prepared", "program.mjs", "run"]);
  assert.not((await readdir(join(folder, "cache"))).includes("tuned.json"));
  assert.not((await readdir(join(place, "run"))).includes(".voxgrad.lock"));
});

test("voxgrad as a library of a Deno program touches nothing of it, and says nothing", async () => {
  const place = join(folder, "deno");
  await mkdir(place);
  await writeFile(join(place, "program.mjs"), program);
  const config = ["--config", join(root, "deno.json")];
  const words = [...config, join(place, "program.mjs"), "--profile", "x.json", "--tune", "--help"];
  const { code, stdout, stderr } = await runDeno(words, { cwd: place });
  assert.equal({ code, stdout, stderr }, { code: 0, stdout: "", stderr: "" });
  await checkLooks(place);
  assert.equal((await readdir(place)).sort(), ["data", "looks.json", "prepared", "program.mjs", "run"]);
});

test.run();
