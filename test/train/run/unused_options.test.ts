// deno-lint-ignore-file no-explicit-any
/**
 * Options that would change nothing are refused by name, before any data is opened; those of another script are
 * unknown.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, zeros } from "../../../engine/mod.ts";
import { config, ConfigError, runConfig } from "../../../engine/train/mod.ts";
import { colab, conres, evaluateOneShot, oneShotEntries, partial } from "../../../models/mod.ts";
import { alpnetEntries, trainAlpnet } from "../../../scripts/train_alpnet.ts";
import { colabEntries, trainColab } from "../../../scripts/train_colab.ts";
import { conResNetEntries, trainConResNet } from "../../../scripts/train_conresnet.ts";
import { partialEntries, trainPartial } from "../../../scripts/train_partial.ts";
import { runCommand } from "../../helpers/command.ts";
import { message as messageOf } from "../../helpers/refuse.ts";

test.after(() => closeDevice());

/** Every option is named with the reason, whatever else is wrong: there is no such data. */
const refused = async (run: (words: string[]) => unknown, words: string, ...wanted: readonly RegExp[]) => {
  const message = await messageOf(() => run(["nowhere", ...words.split(" ")]), ConfigError);
  for (const each of wanted) assert.match(message, each, words);
};

test("train_colab refuses options that its arm does not use", async () => {
  const colab = (words: string[]) => trainColab(config(colabEntries, words));
  await refused(
    colab,
    "--context none --margin 30 --meta implicit",
    /--margin has no effect: --context none/,
    /--meta has no effect/,
  );
  await refused(colab, "--context kmeans --tau 2", /--tau has no effect/);
  await refused(
    colab,
    "--context dilated --period 5 --bodyThreshold -200",
    /--period has no effect/,
    /--bodyThreshold has no effect/,
  );
  await refused(
    colab,
    "--context none --diceContexts all --warmup 0.2 --generatorStart kmeans",
    /--diceContexts has no effect: --context none has one context/,
    /--warmup has no effect/,
    /--generatorStart has no effect/,
  );
  await refused(
    colab,
    "--generatorRate 0 --period 5 --innerStep adam",
    /--period has no effect: --generatorRate 0/,
    /--innerStep has no effect/,
  );
  await refused(colab, "--meta implicit --innerStep adam", /--innerStep has no effect: --meta implicit/);
  await refused(colab, "--generatorStart kmeans", /--generatorStart kmeans: .*--warmup, which is 0/);
  await refused(colab, "--innerStep adam --optimizer sgd", /--innerStep adam: .*trained by sgd/);
  await refused(colab, "--contexts 1 --roiLoss dice", /--roiLoss has no effect: --contexts 1/);
  await refused(colab, "--contextLabels organs", /--contextLabels has no effect: --context colab/);
  await refused(colab, "--context dilated --contexts 5", /--contexts.*--context dilated has two contexts/s);
  await refused(
    colab,
    "--phantoms 4 --augment none --flips x",
    /--phantoms has no effect: --data/,
    /--flips has no effect/,
  );
  await refused(
    colab,
    "--fold all --splits s.json --validation 3",
    /--splits has no effect: --fold all/,
    /--validation has no effect/,
  );
});

test("train_partial and train_conresnet refuse options that another leaves without effect", async () => {
  const partial = (words: string[]) => trainPartial(config(partialEntries, words));
  await refused(
    partial,
    "--loss naive --marginalWeight 2 --mode logit",
    /--marginalWeight has no effect: --loss naive/,
    /--mode has no effect/,
  );
  await refused(
    partial,
    "--loss marginal --exclusionWeight 2 --exclusionTerms dice",
    /--exclusionWeight has no effect/,
    /--exclusionTerms has no/,
  );
  await refused(
    partial,
    "--exclusionWeight 0 --exclusionTerms dice",
    /--exclusionTerms has no effect: --exclusionWeight is 0/,
  );
  await refused(
    partial,
    "--loss marginal --terms ce --includeBackground --diceReduction sum --exclusionBackground",
    /--includeBackground has no effect: --terms ce/,
    /--diceReduction has no effect: there is no Dice/,
    /--exclusionBackground has no effect: --loss marginal/,
  );
  await refused(partial, "--priorWeight 1", /--priorWeight has no effect: --loss exclusion/);
  await refused(
    partial,
    "--loss full --warmup 0.2 --plan p.json --preset small",
    /--warmup has no effect/,
    /--preset has no effect: --plan/,
  );
  const conres = (words: string[]) => trainConResNet(config(conResNetEntries, words));
  await refused(
    conres,
    "--arm baseline --lambda 1 --axis coronal --mode code",
    /--lambda has no effect/,
    /--axis has no/,
    /--mode has no/,
  );
  await refused(conres, "--splits s.json --folds 3", /--folds has no effect: --splits/);
});

test("train_alpnet has no patch options, and refuses those that its arm does not use", async () => {
  const train = (words: string[]) => trainAlpnet(config(alpnetEntries, words));
  for (
    const key of [
      "batch 4",
      "patch 16,16,16",
      "features 8,16",
      "foreground 0.5",
      "augment none",
      "flips x",
      "validation 1",
      "sets equal",
      "preset small",
    ]
  ) {
    await refused(train, `--${key}`, new RegExp(`Unknown key --${key.split(" ")[0]}`));
  }
  await refused(
    train,
    "--arm init --rate 1 --steps 3 --minSize 9",
    /--rate has no effect: --arm init/,
    /--steps has no/,
    /--minSize has no/,
  );
  await refused(
    train,
    "--arm panet --window 2 --threshold 50",
    /--window has no effect: --arm panet/,
    /--threshold has no effect/,
  );
  await refused(train, "--transform none --transformed query", /--transformed has no effect: --transform none/);
  await refused(train, "--fold all --support case_1", /--support has no effect: --fold all/);
  const evaluate = (words: string[]) => evaluateOneShot(config(oneShotEntries, words));
  await refused(evaluate, "--within --supports 4 --chunks 2", /--supports has no effect/, /--chunks has no effect/);
  await refused(evaluate, "--slice 3 --clip 1,2", /--slice has no effect: it is for --within/, /--clip has no effect/);
  await refused(evaluate, "--within --side 64", /--side has no effect: it is for --preparation own/);
});

test("marginalDice() and other losses throw on options that they do not know or do not use", () => {
  const x = zeros([1, 3, 2, 2, 2]);
  const labels = zeros([1, 2, 2, 2], { dtype: "i32" });
  const groups = [[0, 2], [1]];
  const calls: readonly [string, (options: any) => unknown][] = [
    ["marginalDice", (more) => partial.marginalDice(x, labels, { groups, ...more })],
    ["marginalCrossEntropy", (more) => partial.marginalCrossEntropy(x, labels, { groups, ...more })],
    ["partial.loss", (more) => partial.loss(x, labels, { groups, ...more })],
    ["exclusionDice", (more) => partial.exclusionDice(x, x, more)],
    ["exclusionLabels", (more) => partial.exclusionLabels(labels, { groups, classes: 3, ...more })],
    ["segmentationLoss", (more) => colab.segmentationLoss(x, x, more)],
    ["roiLoss", (more) => colab.roiLoss(x, labels, more)],
    ["conres.loss", (more) => conres.loss([x], labels, more)],
    ["residualLoss", (more) => conres.residualLoss(x, x, more)],
    ["boundaryLoss", (more) => conres.boundaryLoss(x, x, more)],
  ];
  for (const [name, call] of calls) {
    call({});
    for (const key of ["smoth", "weighting", "constructor"]) {
      assert.throws(
        () => call({ [key]: 1 }),
        (error: Error) => error.message.startsWith(`${name}: unknown option "${key}"; it takes `),
        `${name} ${key}`,
      );
    }
  }
  const meta = { segment: () => x, generate: () => x, theta: {}, omega: {}, roi: labels, mask: labels, alpha: 1 };
  assert.throws(() => colab.metaGradient({ ...meta, damping: 1 }), /damping is of the method "implicit" alone/);
  assert.throws(() => colab.metaGradient({ ...meta, epsilon: 1 } as any), /unknown option "epsilon"/);
});

test("summary and plan refuse options without effect", async () => {
  const summary = await runCommand(".", ["summary", "--network", "plainConvUNet", "--arm", "full", "--blocks", "1,2"]);
  assert.is(summary.code, 1, summary.output);
  assert.match(summary.output, /--arm has no effect: --network plainConvUNet has none\n--blocks has no effect/);
  const plan = await runCommand(".", ["plan", "nowhere", "--patch", "8,8,8", "--batch", "2", "--memory", "4"]);
  assert.match(plan.output, /--memory has no effect/);
});

test("trainColab() accepts a script's own defaults and the arms of an experiment", async () => {
  // The data is not there, and that is all that is told.
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-options-"));
  const told = await trainColab(
    await runConfig(`${folder}/run`, colabEntries, { data: "nowhere", context: "none", margin: 3 }),
  ).catch((error) => error.message);
  assert.not.match(told, /no effect/);
  assert.match(told, /nowhere/);
  await rm(folder, { recursive: true });
});

test.run();
