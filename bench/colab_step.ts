// What training with learned context labels costs beside plain training of the same U-Net, in time, memory and kernels:
// `VOXGRAD_ADAPTER=lavapipe node --import ./engine/platform/cli/register.mjs bench/colab_step.ts`.
// The steps are those of train_unet and train_colab, augmentation included, each timed in turn. Words after -- go to
// all, as in `-- --patch 40,56,40 --features 8,16,32 --augment nnunet`; --rounds says how often each is timed; --methods
// which gradients are, beside the exact one.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { closeDevice, config, deviceInfo, formatTable, profile, random, type Tensor } from "../engine/mod.ts";
import { colabEntries, openColab } from "../models/colab_training.ts";

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" }, period: { type: "string", default: "10" },
    methods: { type: "string", default: "finite-difference,implicit" },
  },
  allowPositionals: true,
});
const period = Number(values.period);
const folder = await mkdtemp(join(tmpdir(), "colab_step_"));

/** Steps of an arm on one batch, as training takes them. */
async function arm(name: string, words: readonly string[]) {
  const run = join(folder, name);
  const given = ["--phantoms", "4", "--fold", "all", "--run", run, "--cache", join(folder, "cache"), ...positionals, ...words];
  const { training, setup, steps } = await openColab(config(colabEntries, given));
  const [fold] = training.folds;
  training.source = setup.source(fold!.split.train);
  const batch = await training.batch(fold!.split, 1);
  const key = training.key(1);
  let theta = setup.model.init(random.key(1));
  let state = setup.optimiser.init(theta);
  let omega = setup.generator.init(random.key(2));
  let omegaState = setup.generatorOptimiser.init(omega);
  return {
    patch: training.plan,
    segmenter: {
      plan: () => steps.segmenter.plan(theta, state, omega, batch, key, 1e-3),
      run: async () => {
        let figures: Tensor;
        [theta, state, figures] = await steps.segmenter(theta, state, omega, batch, key, 1e-3);
        await figures.data();
      },
    },
    both: {
      plan: () => steps.both.plan(theta, state, omega, omegaState, batch, key, 1e-3, 1e-3),
      run: async () => {
        let figures: Tensor;
        [theta, state, figures, omega, omegaState] = await steps.both(theta, state, omega, omegaState, batch, key, 1e-3, 1e-3);
        await figures.data();
      },
    },
  };
}

const plain = await arm("none", ["--context", "none"]);
const exact = await arm("exact", []);
const items: [string, { plan(): Promise<{ peakBytes: number; dispatches: number; kernels: readonly string[] }>; run(): Promise<void> }][] = [
  ["plain step", plain.segmenter], ["step with contexts", exact.segmenter], ["and the generator's, exact", exact.both],
];
for (const method of values.methods.split(",").filter((name) => name !== "")) {
  items.push([`and the generator's, ${method}`, (await arm(method, ["--meta", method])).both]);
}
const { patch, batch, network } = plain.patch;
console.log(`\n${(await deviceInfo()).name}; batch ${batch} x ${patch.join(" x ")}, features ${network.features.join("-")}`);
const times = items.map((): number[] => []);
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const [k, [, { run }]] of items.entries()) {
    const from = performance.now();
    await run();
    // The first round compiles.
    if (round > 0) times[k]!.push(performance.now() - from);
  }
}
const best = times.map((list) => Math.min(...list));
// Exact, where times on a shared machine are not.
const flops: number[] = [];
for (const [, { run }] of items) flops.push((await profile(run)).kernels.reduce((sum, kernel) => sum + kernel.flops, 0));
const plans = await Promise.all(items.map(([, { plan }]) => plan()));
const rows = items.map(([name], k) => [
  name, best[k]!, best[k]! / best[0]!, flops[k]! / 1e9, flops[k]! / flops[0]!, plans[k]!.peakBytes / 1e6, plans[k]!.peakBytes / plans[0]!.peakBytes, plans[k]!.dispatches,
  plans[k]!.kernels.filter((kernel) => kernel.includes("conv_")).length,
]);
console.log(formatTable(["", "ms", "x", "GFLOP", "x GFLOP", "MB", "x memory", "dispatches", "convolutions"], rows));
for (const [what, [base, step, both]] of [["time", best], ["operations", flops]] as [string, [number, number, number]][]) {
  const more = (each: number) => `${(100 * ((step + (both - step) / each) / base - 1)).toFixed(0)} % at period ${each}`;
  console.log(`By ${what}: the generator's exact step costs ${((both - step) / base).toFixed(1)} plain steps; CoLab ${more(period)} and ` +
    `${more(1000)} more than plain training`);
}
await rm(folder, { recursive: true });
await closeDevice();
