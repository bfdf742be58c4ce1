// Cost of merging labels in a training step: the step of train_partial with the ordinary loss, with marginal losses,
// and with exclusion losses too, on the same partially labeled batch and with the same network:
// `VOXGRAD_ADAPTER=lavapipe node --import ./engine/platform/cli/register.mjs bench/probes/partial_step.ts`. Arguments
// after -- go to all, as in `-- --patch 40,56,40 --features 8,16,32`; --rounds sets how often each is timed, --arms
// which (the first is the baseline).
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { closeDevice, tensor } from "../../engine/mod.ts";
import { config, openTraining } from "../../engine/train/mod.ts";
import { PARTIAL_PHANTOMS, partialEntries, partialMethod } from "../../scripts/train_partial.ts";
import { type MeasuredStep, measureSteps } from "./steps.ts";

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "10" },
    arms: { type: "string", default: "naive,marginal,logit,exclusion" },
  },
  allowPositionals: true,
});
const folder = await mkdtemp(join(tmpdir(), "partial_step_"));
let about = "";

/** The step of an arm on one batch, as training takes it. */
async function arm(name: string, words: readonly string[]): Promise<MeasuredStep> {
  const given = [
    "--phantoms",
    "4",
    "--fold",
    "all",
    "--run",
    join(folder, name.replaceAll(" ", "_")),
    "--cache",
    join(folder, "cache"),
    ...positionals,
    ...words,
  ];
  const options = config(partialEntries, given);
  const training = await openTraining(options, PARTIAL_PHANTOMS);
  const { init, trainStep } = partialMethod(options, training);
  const { patch, batch: size, network, labels } = training.plan;
  about = `batch ${size} x ${patch.join(" x ")}, features ${network.features.join("-")}, ${labels.length} classes`;
  const batch = await training.batch(training.folds[0].split, 1);
  const key = training.key(1);
  const prior = tensor(new Float32Array(labels.length));
  let state = init();
  return {
    name,
    plan: () => trainStep.plan(state, batch, prior, key, 1e-3),
    run: async () => {
      const [next, metrics] = await trainStep(state, batch, prior, key, 1e-3);
      state = next;
      await metrics.data();
    },
  };
}

const ARMS: Readonly<Record<string, readonly [name: string, ...words: string[]]>> = {
  naive: ["ordinary losses", "--loss", "naive"],
  marginal: ["marginal losses", "--loss", "marginal"],
  logit: ["marginal, logits merged", "--loss", "marginal", "--mode", "logit"],
  exclusion: ["marginal and exclusion losses", "--loss", "exclusion"],
};
const steps: MeasuredStep[] = [];
for (const key of values.arms.split(",")) {
  const [name, ...words] = ARMS[key];
  steps.push(await arm(name, words));
}
await measureSteps(steps, about, Number(values.rounds));
await rm(folder, { recursive: true });
await closeDevice();
