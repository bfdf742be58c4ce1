import { test } from "uvu";
import * as assert from "uvu/assert";
import { splitFlags } from "../../engine/platform/engine_flags.ts";

const split = (line: string): [string, string | boolean] => {
  const { args, flags } = splitFlags(line.split(" ").filter((word) => word !== ""));
  return [args.join(" "), flags.profile];
};

test("splitFlags() separates flags of the engine from those of the script", () => {
  assert.equal(split(""), ["", false]);
  assert.equal(split("--steps 3 --name=--profile"), ["--steps 3 --name=--profile", false]);
  assert.equal(split("--profile --steps 3"), ["--steps 3", true]);
  assert.equal(split("--steps 3 --profile"), ["--steps 3", true]);
  assert.equal(split("--profile runs/trace.json --steps 3"), ["--steps 3", "runs/trace.json"]);
  assert.equal(split("--profile=trace --steps 3"), ["--steps 3", "trace"]);
  assert.equal(split("--profile= --steps 3"), ["--steps 3", true]);
  assert.is(splitFlags(["--tune"]).flags.tune, true);
  assert.is(splitFlags(["--print-config"]).flags.printConfig, true);
  assert.is(splitFlags(["--tuned"]).flags.tune, false);
  assert.equal(split("--tune --steps 3 --profile"), ["--steps 3", true]);
  assert.equal(split("--profiles a.json"), ["--profiles a.json", false]);
});

test.run();
