// Sites that annotate different organs train one network, and no scan leaves them: the server sends weights and gets
// sums of masked updates. `npx voxgrad federate server plan.json --nats nats://HOST:4222 --sites 4` and, at each site,
// `npx voxgrad federate client --data DIR --site NAME --nats nats://HOST:4222`; see engine/train/federate/README.md.
import { closeDevice, random, tensor } from "../engine/mod.ts";
import { type Plan, readPlan } from "../engine/imaging/mod.ts";
import { polySchedule } from "../engine/nn/mod.ts";
import * as train from "../engine/train/mod.ts";
import { architectureOf, networkFromPlan } from "../models/mod.ts";
import { PARTIAL_PHANTOMS, partialEntries, partialMethod } from "./train_partial.ts";

const options = train.config({
  act: train.choice(["server", "client"], "which side this is", { positional: true }),
  plan: train.entry("", "server: plan.json of voxgrad plan, whose labels are those of all sites", { positional: true }),
  data: train.entry("", "client: folder of this site's scans; labels_present in dataset.json says what is annotated"),
  site: train.entry("", "client: its name"),
  nats: train.entry("nats://127.0.0.1:4222", "server of NATS with JetStream"),
  token: train.entry("", "token of that server; VOXGRAD_NATS_TOKEN without it"),
  name: train.entry("federation", "name of the federation at that server"),
  run: train.entry("runs/federation", "folder for the model and the server's log"),
  overwrite: train.entry(false, "whether that folder may hold an earlier one"),
  rounds: train.entry(20, "server: rounds of training", { integer: true, min: 1 }),
  steps: train.entry(10, "server: steps of each site in a round", { integer: true, min: 1 }),
  rate: train.entry(1e-2, "server: learning rate at the start", { min: 0 }),
  batch: train.entry(0, "server: patches a step; 0: as planned", { integer: true, min: 0 }),
  seed: train.entry(1, "server: of the first weights", { integer: true, min: 0 }),
  sites: train.entry(2, "server: sites to wait for before the first round", { integer: true, min: 2 }),
  least: train.entry(2, "server: sites that a round needs at least", { integer: true, min: 2 }),
  patience: train.entry(600, "server: seconds that a round waits for a site", { min: 1 }),
  clip: train.entry(0, "server: largest norm of a site's update; 0: any", { min: 0 }),
  noise: train.entry(0, "server: deviation of the noise on the sum over --clip; 0: none", { min: 0 }),
});

const modelOf = (params: object, plan: Plan): Promise<Uint8Array<ArrayBuffer>> =>
  train.saveModel(params, { network: plan.network.name, architecture: architectureOf(plan), plan });

if (options.act === "server") await server();
else await client();
await closeDevice();

async function server(): Promise<void> {
  const { rounds, sites, least, patience, noise, clip, steps, rate, batch, seed, nats, name, token } = options;
  if (options.plan === "") throw new train.ConfigError("Name a plan: voxgrad federate server plan.json");
  if (noise > 0 && clip === 0) throw new train.ConfigError("--noise is in units of --clip, which is missing");
  const plan = await readPlan(options.plan);
  const params = networkFromPlan(plan, { deepSupervision: true }).init(random.key(seed));
  const run = await train.openRun({ name: "federation", folder: options.run, overwrite: options.overwrite });
  await run.writeJson("config.json", { options });
  await run.write("federation.jsonl", "");
  const channel = await train.openChannel(nats, name, token);
  const weights = await train.serveFederation(channel, run, await train.ravel(params), {
    rounds,
    sites,
    least,
    patience,
    noise,
    shapes: await train.shapesDigest(params),
    task: { plan, rounds, steps, rate, batch, clip, noise },
    keep: async (_, values) => run.write("model.safetensors", await modelOf(train.unravel(params, values), plan)),
  });
  await run.write("model.safetensors", await modelOf(train.unravel(params, weights), plan));
  await channel.close();
  await run.unlock();
  train.print(`\nWritten:\n${run.listing()}`);
}

async function client(): Promise<void> {
  const { site, data, nats, name, token } = options;
  if (site === "" || data === "") {
    throw new train.ConfigError("--site and --data are wanted: a name, and a folder of scans");
  }
  const channel = await train.openChannel(nats, name, token);
  const { plan, rounds, steps, rate, batch, clip, noise } = await train.askTask(channel, site) as {
    plan: Plan;
    [key: string]: unknown;
  } as { plan: Plan; rounds: number; steps: number; rate: number; batch: number; clip: number; noise: number };
  const run = new train.RunFolder(options.run);
  const planFile = await run.writeJson("federation_plan.json", plan);
  const own = train.withDefaults(partialEntries, {
    data,
    plan: planFile,
    run: `${options.run}/work`,
    overwrite: true,
    rate,
    batch,
    sets: "proportional",
  });
  const training = await train.openTraining(own, PARTIAL_PHANTOMS, { someClasses: true });
  const { trainStep, evalStep, init } = partialMethod(own, training);
  let state = init();
  const { params: template } = state;
  const [{ split }] = training.folds;
  const prior = tensor(new Float32Array(plan.labels.length));
  const schedule = polySchedule(rate, { steps: rounds * steps });
  const last = await train.joinFederation(channel, site, {
    shapes: await train.shapesDigest(template),
    // With noise all sites weigh the same, so that it covers each.
    samples: noise > 0 ? 1 : split.train.length,
    clip,
    noise,
    async train(weights, round) {
      state = { ...state, params: train.unravel(template, weights) };
      let loss = 0;
      for (let k = 1; k <= steps; k++) {
        const step = (round - 1) * steps + k;
        const patches = await training.batch(split, step);
        const [next, metrics] = await trainStep(state, patches, prior, training.key(step), schedule(step - 1));
        state = next;
        [loss] = await metrics.data() as Float32Array;
        metrics.dispose();
      }
      train.print(`Round ${round}: loss ${loss.toFixed(4)}`);
      return train.ravel(state.params);
    },
    async measure(weights) {
      const params = train.unravel(template, weights);
      const measured = await training.validation(split, (patches) => evalStep(params, patches, prior))?.();
      const dice = measured?.dice.map((value, k) => [training.classes[k], value] as const) ?? [];
      return Object.fromEntries(dice.filter(([, value]) => Number.isFinite(value)));
    },
  });
  await run.write("model.safetensors", await modelOf(train.unravel(template, last), plan));
  await channel.close();
  await training.run.unlock();
  train.print(`\nWritten:\n${options.run}/model.safetensors`);
}
