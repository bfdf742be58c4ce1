// Cost of a training step of ConResNet, with and without --recompute: planned memory, dispatches, multiply-adds, time;
// and the cost of the parts that other frameworks compute by several operators each: `VOXGRAD_ADAPTER=lavapipe node
// --import ./engine/platform/cli/register.mjs bench/probes/conresnet_step.ts`. The step is that of train_conresnet at
// the published widths on a patch of 32 x 64 x 64. --patch, --features and --arms change that, arguments after -- go to
// the training, as in `-- --augment none`. --rounds 0 --parts false only plans: nothing is compiled or run.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  closeDevice,
  compile,
  countProducts,
  deviceInfo,
  ones,
  profile,
  random,
  Tensor,
  tensor,
  tree,
  vjp,
  weightStandardize,
} from "../../engine/mod.ts";
import { config, formatTable } from "../../engine/train/mod.ts";
import { conResNetEntries, conResNetMethod, openConResNetRun } from "../../scripts/train_conresnet.ts";
import { contextGate, featureResidual } from "../../models/conresnet/conresnet.ts";
import { plannedStep } from "./steps.ts";

const { values, positionals } = parseArgs({
  options: {
    patch: { type: "string", default: "32,64,64" },
    features: { type: "string", default: "32,64,128,256" },
    arms: { type: "string", default: "full" },
    rounds: { type: "string", default: "1" },
    parts: { type: "string", default: "true" },
  },
  allowPositionals: true,
});
const rounds = Number(values.rounds);
const folder = await mkdtemp(join(tmpdir(), "conresnet_step_"));
const shared = [
  "--phantoms",
  "2",
  "--fold",
  "all",
  "--batch",
  "1",
  "--patch",
  values.patch,
  "--features",
  values.features,
  "--cache",
  join(folder, "cache"),
  ...positionals,
];
const heads = ["", "seconds", "in kernels", "multiply-adds, 1e9", "MB planned", "x memory", "dispatches"];
const rows: (string | number)[][] = [];
/** Milliseconds and bytes of the kernels of the last plain step. */
const whole = { milliseconds: NaN, bytes: NaN };
const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

console.log(`${(await deviceInfo()).name}; batch 1 x ${values.patch}, features ${values.features}`);
for (const arm of values.arms.split(",")) {
  let plain = NaN;
  for (const recompute of [false, true]) {
    const run = ["--run", join(folder, `${arm}_${recompute}`), "--arm", arm, ...(recompute ? ["--recompute"] : [])];
    const options = config(conResNetEntries, [...shared, ...run]);
    const training = await openConResNetRun(options);
    const method = await conResNetMethod(options, training);
    const batch = await training.batch(training.folds[0].split, 1);
    let state = method.init();
    const rest = [batch, training.key(1), 1e-3, tensor(1)] as const;
    const products = sum(countProducts(method.step, state, ...rest).map(({ multiplyAdds }) => multiplyAdds));
    const { peakBytes, dispatches } = await plannedStep(method.step, [state, ...rest]);
    if (!recompute) plain = peakBytes;
    const step = async (): Promise<void> => {
      const [next, metrics] = await method.trainStep(state, ...rest);
      state = next;
      await metrics.data();
    };
    // The first step, in which drivers compile, is excluded.
    if (rounds > 0) await step();
    const [times, inKernels]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const from = performance.now();
      const { milliseconds, kernels } = await profile(step);
      times.push((performance.now() - from) / 1000);
      inKernels.push(milliseconds / 1000);
      if (!recompute) Object.assign(whole, { milliseconds, bytes: sum(kernels.map(({ bytes }) => bytes)) });
    }
    const least = (list: readonly number[]): number | string => (list.length > 0 ? Math.min(...list) : "-");
    const name = recompute ? `${arm}, recomputed` : arm;
    rows.push([name, least(times), least(inKernels), products / 1e9, peakBytes / 1e6, peakBytes / plain, dispatches]);
    method.trainStep.dispose();
  }
}
console.log(formatTable(heads, rows));

/** Each part compiled alone, forward and with its derivative, at the sizes that it has in the network. */
async function measureParts(): Promise<void> {
  const patch = values.patch.split(",").map(Number);
  const features = values.features.split(",").map(Number);
  const options = config(conResNetEntries, [...shared, "--run", join(folder, "parts")]);
  const { model } = await conResNetMethod(options, await openConResNetRun(options));
  const isKernel = (path: string, p: Tensor): boolean => p.rank === 5 && !path.includes("cls");
  const kernels = [...(tree.flatten(model.init(random.key(1))) as Map<string, Tensor>)]
    .filter(([path, p]) => isKernel(path, p)).map(([, p]) => p);
  const maps = features.slice(0, -1).map((_, s) =>
    random.normal(random.key(s), {
      shape: [1, features[Math.max(0, s - 1)], ...patch.map((n) => Math.ceil(n / 2 ** s))],
    })
  );
  const parts: Record<string, [f: (...xs: Tensor[]) => Tensor, inputs: Tensor[][]]> = {
    [`standardized weights of ${kernels.length} kernels`]: [(w) => weightStandardize(w), kernels.map((p) => [p])],
    [`slice residuals at ${maps.length} scales`]: [(x) => featureResidual(x, 2), maps.map((x) => [x])],
    [`gates at ${maps.length} scales`]: [(x, r) => contextGate(x, r), maps.map((x) => [x, x.mul(0.5)])],
  };
  const lines: (string | number)[][] = [];
  for (const [name, [f, inputs]] of Object.entries(parts)) {
    const forward = compile((all: Tensor[][]) => all.map((xs) => f(...xs)));
    const both = compile((all: Tensor[][]) =>
      all.map((xs) => {
        const [y, pull] = vjp(f, xs);
        return [y, pull(ones(y.shape))];
      })
    );
    for (const [what, run] of [["", forward], [", and derivatives", both]] as const) {
      await run(inputs);
      const { milliseconds, dispatches } = await profile(() => run(inputs) as Promise<unknown>);
      const bytes = sum(dispatches.map((each) => each.bytes));
      lines.push([
        name + what,
        dispatches.length,
        bytes / 1e6,
        bytes / whole.bytes,
        milliseconds,
        milliseconds / whole.milliseconds,
      ]);
      run.dispose();
    }
  }
  console.log(
    `\nParts, each alone; shares of the plain step's kernels\n${
      formatTable(["", "dispatches", "MB", "of its bytes", "ms", "of its time"], lines)
    }`,
  );
}
if (values.parts !== "false") await measureParts();
await rm(folder, { recursive: true });
await closeDevice();
