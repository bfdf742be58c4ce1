/** runExperiment with measures made by hand: its seeds, what is noted, resuming, and learning rates that are tuned. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type MeasuredCase, runExperiment, type Trial, trial } from "../../../engine/train/mod.ts";

const folder = mkdtempSync(join(tmpdir(), "voxgrad-run-experiment-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

interface Options {
  readonly rate: number;
}
const trials: readonly Trial<Options>[] = [
  trial("plain", "Plain", ""),
  trial("new", "New", ""),
  { name: "mean", title: "Mean of both" },
];
/** Plain is best at 0.1, new at 0.2. */
const best: Record<string, number> = { plain: 0.1, new: 0.2, mean: 0 };

/** Runs it and gives what was called, in order. */
async function calls(name: string, more: { seeds: number; firstSeed?: number; rates?: readonly number[] }) {
  const called: string[] = [];
  const run = join(folder, name);
  await runExperiment<Trial<Options>, { rate: number }>({
    run,
    title: "Trial",
    trials,
    measures: ["Dice"],
    settings: { rate: 0.4 },
    ...more,
    prepare: (own, seed) => {
      called.push(`prepare ${own.slice(run.length + 1)} ${seed}`);
      return Promise.resolve({ rate: 0.4 });
    },
    measure: ({ trial: { name: arm }, seed, folder: own, shared: { rate }, note }): Promise<MeasuredCase[]> => {
      called.push(`${arm} ${own.slice(run.length + 1)} ${seed} ${rate}`);
      note({ parameters: 12 });
      const Dice = 0.9 - Math.abs(rate - best[arm]);
      return Promise.resolve([{ id: "x", classes: { L: { Dice } } }]);
    },
  });
  const json = JSON.parse(readFileSync(join(run, "experiment.json"), "utf8"));
  return { called, json };
}

test("runExperiment() counts seeds from firstSeed, stores what is noted, and repeats nothing", async () => {
  const { called, json } = await calls("seeds", { seeds: 2, firstSeed: 11 });
  assert.equal(called, [
    "prepare seed_11 11",
    "plain seed_11 11 0.4",
    "new seed_11 11 0.4",
    "mean seed_11 11 0.4",
    "prepare seed_12 12",
    "plain seed_12 12 0.4",
    "new seed_12 12 0.4",
    "mean seed_12 12 0.4",
  ]);
  assert.equal([json.seeds, json.settings.rate, json.runs[0].parameters, json.runs[0].rate], [
    [11, 12],
    0.4,
    12,
    undefined,
  ]);
  // A seed before and one that is there: the other one is left out of the tables, and the new one is run.
  const earlier = await calls("seeds", { seeds: 2, firstSeed: 10 });
  assert.equal(earlier.called.filter((call) => call.startsWith("prepare")), ["prepare seed_10 10"]);
  assert.equal(earlier.json.seeds, [10, 11]);
});

test("runExperiment() tunes the rate of each arm that trains, on patients apart, once", async () => {
  const rates = [0.05, 0.1, 0.2];
  const { called, json } = await calls("tuned", { seeds: 1, firstSeed: 3, rates });
  const tried = rates.flatMap((rate) => [
    `prepare tuning/rate_${rate} 0`,
    `plain tuning/rate_${rate} 0 ${rate}`,
    `new tuning/rate_${rate} 0 ${rate}`,
  ]);
  const measured = ["prepare seed_3 3", "plain seed_3 3 0.1", "new seed_3 3 0.2", "mean seed_3 3 0.4"];
  assert.equal(called, [...tried, ...measured]);
  assert.is(json.settings.rate, "best of 0.05, 0.1, 0.2");
  assert.equal(json.runs.map(({ rate }: { rate?: number }) => rate), [0.1, 0.2, undefined]);
  const tuning = JSON.parse(readFileSync(join(folder, "tuned/tuning/experiment.json"), "utf8"));
  assert.equal(tuning.seeds, [0]);
  assert.equal((await calls("tuned", { seeds: 1, firstSeed: 3, rates })).called, []);
});

test.run();
