import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  choice,
  config,
  ConfigError,
  entry,
  HelpRequest,
  resumableConfig,
  runConfig,
  withDefaults,
} from "../../../engine/train/run/config.ts";
import { thrown } from "../../helpers/refuse.ts";

const block = {
  data: entry("", "dataset folder"),
  steps: entry(100, "optimizer steps", { integer: true, min: 1, max: 1000 }),
  rate: 3e-3,
  shift: 0,
  patch: entry([32, 32, 32], "voxels", { integer: true, min: 1, lengths: [1, 3] }),
  flips: [0, 1, 2],
  augment: true,
  batchSize: 2,
  optimizer: choice(["adam", "sgd"], "optimizer"),
};

const message = (args: string[]): string => thrown(() => config(block, args), ConfigError).message;

test("config() gives the defaults when nothing is written", () => {
  assert.equal(config(block, []), {
    data: "",
    steps: 100,
    rate: 3e-3,
    shift: 0,
    patch: [32, 32, 32],
    flips: [0, 1, 2],
    augment: true,
    batchSize: 2,
    optimizer: "adam",
  });
});

test("config() reads numbers, texts, truth values and lists, in both spellings", () => {
  const args = "--data=a=b --steps 7 --rate 1e-2 --patch 8,16,24 --flips 0 --no-augment --batch-size 4 --optimizer sgd";
  const got = config(block, args.split(" "));
  assert.equal(got, {
    data: "a=b",
    steps: 7,
    rate: 0.01,
    shift: 0,
    patch: [8, 16, 24],
    flips: [0],
    augment: false,
    batchSize: 4,
    optimizer: "sgd",
  });
});

test("config() takes negative numbers, empty lists, texts of digits and truth values in words", () => {
  assert.is(config(block, ["--shift", "-1.5"]).shift, -1.5);
  assert.is(config(block, ["--shift=-2"]).shift, -2);
  assert.equal(config(block, ["--flips="]).flips, []);
  assert.is(config(block, ["--data", "007"]).data, "007");
  assert.is(config(block, ["--augment", "false"]).augment, false);
  assert.is(config(block, ["--augment", "--steps", "3"]).augment, true);
});

test("config() rejects an unknown key, names the nearest and lists the valid ones with defaults", () => {
  const text = message(["--step", "5"]);
  assert.match(text, "Unknown key --step: did you mean --steps?");
  assert.match(text, /--steps +100 +optimizer steps/);
  assert.match(text, /--patch +32,32,32 +voxels/);
  assert.match(text, /--optimizer +adam +optimizer \(adam, sgd\)/);
  assert.not.match(message(["--elephant", "5"]), "did you mean");
  assert.match(message(["-s", "5"]), "Unknown key --s");
});

test("config() rejects unfit values and says what it wanted", () => {
  assert.match(message(["--steps", "many"]), '--steps: got "many", wanted an integer from 1');
  assert.match(message(["--steps", "2.5"]), "wanted an integer");
  assert.match(message(["--steps", "0"]), "from 1 up to 1000");
  assert.match(message(["--steps", "1001"]), "from 1 up to 1000");
  assert.match(message(["--rate", "Infinity"]), "wanted a number");
  assert.match(message(["--rate"]), "a value is missing");
  assert.match(message(["--data", "--steps", "5"]), "--data: a value is missing");
  assert.match(message(["--patch", "8,8"]), "got 2 numbers (8,8), wanted 1 or 3");
  assert.match(message(["--patch", "8,,8"]), 'got ""');
  assert.match(message(["--augment", "maybe"]), "wanted true or false");
  assert.match(message(["--optimizer", "lion"]), 'got "lion", wanted adam or sgd');
  assert.match(message(["--no-steps"]), "--steps: it has a value");
  assert.match(message(["--steps", "1", "--steps", "2"]), "more than once");
  assert.match(message(["--batchSize", "1", "--batch-size", "2"]), "more than once");
  assert.match(message(["train", "--steps", "1"]), 'Unexpected "train"');
});

test("config() takes values without a key for positional entries, in order", () => {
  const places = { data: entry("", "", { positional: true }), out: entry("", "", { positional: true }), n: 1 };
  assert.equal(config(places, ["here", "--n", "2", "there"]), { data: "here", out: "there", n: 2 });
  assert.equal(config(places, ["--out", "there", "here"]), { data: "here", out: "there", n: 1 });
  const flags = { ...places, dryRun: false };
  assert.equal(config(flags, ["--dry-run", "here", "--out", "there"]), {
    data: "here",
    out: "there",
    n: 1,
    dryRun: true,
  });
  assert.equal(config(flags, ["--dryRun", "false", "here"]), { data: "here", out: "", n: 1, dryRun: false });
  assert.equal(config(flags, ["--no-dryRun", "here"]), { data: "here", out: "", n: 1, dryRun: false });
  assert.throws(() => config(places, ["a", "b", "c"]), /Unexpected "c"/);
  assert.throws(() => config(places, ["a", "--data", "b"]), /data is given twice/);
});

test("resumableConfig() takes what a run was started with, and lets only some of it change", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-config-"));
  try {
    const defaults = { resume: "", steps: 100, seed: 1, features: [8, 16], fast: false };
    const rules = { change: ["steps"] } as const;
    const read = (...args: string[]) => resumableConfig(defaults, rules, args);
    const failure = (...args: string[]) => read(...args).then(() => "none", (error: Error) => error.message);
    assert.equal(await read("--steps", "7"), { ...defaults, steps: 7 });
    const options = { resume: "", steps: 50, seed: 3, features: [4, 8, 16] };
    await writeFile(join(folder, "config.json"), JSON.stringify({ options }));
    assert.equal(await read("--resume", folder), { ...options, resume: folder, fast: false });
    assert.equal(await read("--resume", `${folder}/`, "--steps", "80", "--seed", "3"), {
      ...options,
      resume: `${folder}/`,
      steps: 80,
      fast: false,
    });
    assert.match(
      await failure("--resume", folder, "--seed", "4"),
      "--seed: a resumed run keeps what it was started with (3)",
    );
    assert.match(await failure("--resume", folder, "--features", "4"), "it can change --steps");
    assert.match(await failure("--resume", join(folder, "none")), "there is no");
    assert.match(await failure("--resume", folder, "--stepz", "4"), "did you mean --steps?");
    // A run of before has what was done then, not the default of now.
    const gain = choice(["fan", "none"], "scale of kernels", { before: "none" });
    const later = { ...defaults, gain };
    assert.is((await resumableConfig(later, rules, ["--resume", folder])).gain, "none");
    assert.is((await resumableConfig(later, rules, [])).gain, "fan");
    await writeFile(join(folder, "config.json"), "{}");
    assert.match(await failure("--resume", folder), "it lists no options");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("runConfig() takes a new run, resumes one started with the same options, and refuses another", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-config-"));
  try {
    const defaults = { resume: "", run: "", steps: 100, seed: 1 };
    const read = () => runConfig(folder, defaults, { steps: 7, seed: 2 });
    assert.equal(await read(), { resume: "", run: folder, steps: 7, seed: 2 });
    const options = { resume: "", run: folder, steps: 7, seed: 2 };
    await writeFile(join(folder, "config.json"), JSON.stringify({ options }));
    assert.equal(await read(), { ...options, resume: folder });
    await writeFile(join(folder, "config.json"), JSON.stringify({ options: { ...options, steps: 50 } }));
    const error = await read().then(() => undefined, (caught: Error) => caught);
    assert.instance(error, ConfigError);
    assert.match(error!.message, "it was begun with --steps 50, and 7 is wanted now");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("withDefaults() fills in what is left out, and refuses unknown keys and unfit values", () => {
  const defaults = {
    steps: entry(100, "steps", { integer: true, min: 1 }),
    rates: entry([1, 2], "rates", { min: 0 }),
    arm: choice(["full", "none"], "arm"),
    boundary: false,
  };
  const all = { steps: 100, rates: [1, 2], arm: "full" as const, boundary: false };
  assert.equal(withDefaults(defaults, {}), all);
  assert.equal(withDefaults(defaults, { steps: 3, rates: [0.5], boundary: true }), {
    ...all,
    steps: 3,
    rates: [0.5],
    boundary: true,
  });
  const fails = (options: object, message: RegExp) =>
    assert.throws(
      () => withDefaults(defaults, options),
      (error: Error) => error instanceof ConfigError && message.test(error.message),
    );
  fails({ step: 3 }, /There is no option step.*steps/);
  fails({ steps: 1.5 }, /^steps: got "1.5", wanted an integer from 1/);
  fails({ rates: [1, -1] }, /^rates: got "-1", wanted a number from 0/);
  fails({ arm: "half" }, /^arm: got "half", wanted full or none/);
  fails({ boundary: 1 }, /^boundary: got 1, wanted such as false/);
});

test("config() answers --help with the keys, unless the block has a key of that name", () => {
  const isHelp = (error: Error): boolean => error instanceof HelpRequest && /--rate +0.003/.test(error.message);
  assert.throws(() => config(block, ["--help"]), isHelp);
  assert.is(config({ help: "no" }, ["--help", "yes"]).help, "yes");
});

test.run();
