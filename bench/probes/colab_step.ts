// Cost of training with learned context labels relative to plain training of the same U-Net, in time, memory and
// kernels: `VOXGRAD_ADAPTER=lavapipe node --import ./engine/platform/cli/register.mjs bench/probes/colab_step.ts`. The
// steps are those of train_unet and train_colab, including augmentation, each timed in turn. Arguments after -- go to
// all, as in `-- --patch 40,56,40 --features 8,16,32 --augment nnunet`; --rounds sets how often each is timed;
// --methods selects further gradients besides the exact one.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { closeDevice } from "../../engine/mod.ts";
import { config, openTraining } from "../../engine/train/mod.ts";
import { COLAB_PHANTOMS, colabEntries, colabMethod } from "../../scripts/train_colab.ts";
import { type MeasuredStep, measureSteps } from "./steps.ts";

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    period: { type: "string", default: "10" },
    methods: { type: "string", default: "finite-difference,implicit" },
  },
  allowPositionals: true,
});
const period = Number(values.period);
const folder = await mkdtemp(join(tmpdir(), "colab_step_"));

/** Steps of an arm on one batch, as training takes them. */
async function arm(name: string, words: readonly string[]) {
  const run = join(folder, name);
  const given = [
    "--phantoms",
    "4",
    "--fold",
    "all",
    "--run",
    run,
    "--cache",
    join(folder, "cache"),
    ...positionals,
    ...words,
  ];
  const options = config(colabEntries, given);
  const training = await openTraining(options, COLAB_PHANTOMS);
  const { init, source, trainStep, metaStep } = colabMethod(options, training);
  const [{ split }] = training.folds;
  const batch = await training.batch(split, 1, source(split.train));
  const key = training.key(1);
  let state = init();
  return {
    patch: training.plan,
    segmenter: {
      plan: () => trainStep.plan({ params: state.params, optimizer: state.optimizer }, state.omega, batch, key, 1e-3),
      run: async () => {
        const { params, optimizer, omega, generator } = state;
        const [next, metrics] = await trainStep({ params, optimizer }, omega, batch, key, 1e-3);
        state = { ...next, omega, generator };
        await metrics.data();
      },
    },
    both: {
      plan: () => metaStep.plan(state, batch, key, 1e-3, 1e-3),
      run: async () => {
        const [next, metrics] = await metaStep(state, batch, key, 1e-3, 1e-3);
        state = next;
        await metrics.data();
      },
    },
  };
}

const plain = await arm("none", ["--context", "none"]);
const exact = await arm("exact", []);
const items: MeasuredStep[] = [
  { name: "plain step", ...plain.segmenter },
  { name: "step with contexts", ...exact.segmenter },
  { name: "and the generator's, exact", ...exact.both },
];
for (const method of values.methods.split(",").filter((name) => name !== "")) {
  items.push({ name: `and the generator's, ${method}`, ...(await arm(method, ["--meta", method])).both });
}
const { patch, batch, network } = plain.patch;
const about = `batch ${batch} x ${patch.join(" x ")}, features ${network.features.join("-")}`;
const { best, flops } = await measureSteps(items, about, Number(values.rounds));
for (
  const [what, [base, step, both]] of [["time", best], ["operations", flops]] as [string, [number, number, number]][]
) {
  const more = (each: number) => `${(100 * ((step + (both - step) / each) / base - 1)).toFixed(0)} % at period ${each}`;
  console.log(
    `By ${what}: the generator's exact step costs ${((both - step) / base).toFixed(1)} plain steps; CoLab ${
      more(period)
    } and ` +
      `${more(1000)} more than plain training`,
  );
}
await rm(folder, { recursive: true });
await closeDevice();
