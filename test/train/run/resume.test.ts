// deno-lint-ignore-file no-explicit-any
// Trainings that stop: killed, out of disk, with a loss that is no number, on a lost device; and the log that they
// keep.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "../../../engine/platform/node.ts";
import { platform as shared } from "#platform";
import { PlatformError } from "../../../engine/platform/types.ts";
import { compile, evaluate, log as logarithm, random, type Tensor, tensor, valueAndGrad } from "../../../engine/mod.ts";
import { adam } from "../../../engine/nn/mod.ts";
import { JsonLines, openRun, RunFolder, train, trainLoop } from "../../../engine/train/mod.ts";
import { failure } from "../../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-resume-"));
test.after(async () => {
  await rm(folder, { recursive: true, force: true });
  platform.closeGpu();
});

class Killed extends Error {}

interface Plot {
  steps: number;
  /** Aborted by the batch of this step. */
  abort?: number;
  /** Step whose batch kills the training. */
  kill?: number;
  /** Minutes between checkpoints: 0 is after each step. */
  minutes?: number;
}

/** A regression with Adam whose batches are noise of the step's own; gives weights and what the training tells. */
async function regression(name: string, { steps, abort, kill, minutes = 0 }: Plot) {
  const stop = new AbortController();
  const run = new RunFolder(join(folder, name), { resumed: true, signal: stop.signal });
  let params: any = { w: random.normal(random.key(1), { shape: [5, 3] }) };
  const optimizer = adam();
  let state = optimizer.init(params);
  const wanted = random.normal(random.key(2), { shape: [5, 3] });
  const step = compile((p: any, s: any, x: Tensor, rate: Tensor) => {
    const loss = (q: any) => x.matmul(q.w).sub(x.matmul(wanted)).square().mean();
    const [value, grads] = valueAndGrad(loss)(p);
    return [...optimizer.update(grads, s, p, rate), value.reshape({ shape: [1] })];
  }, { donate: [0, 1] });
  const best: number[] = [];
  let evaluations = 0;
  const result = await train({
    run,
    title: "Regression",
    classes: [],
    steps,
    epochSteps: 4,
    checkpointMinutes: minutes,
    rate: (k) => 0.1 / k,
    batch: async (k) => {
      if (k === kill) throw new Killed();
      if (k === abort) stop.abort(new Killed());
      return random.normal(random.key(100 + k), { shape: [8, 5] });
    },
    step: async (x, rate) => {
      let figures: Tensor;
      [params, state, figures] = (await step(params, state, x, rate)) as [any, any, Tensor];
      return figures;
    },
    state: { read: () => ({ params, state }), write: (s: any) => ({ params, state } = s) },
    validate: async () => {
      evaluations++;
      const error = await params.w.sub(wanted).square().mean().item();
      return { loss: error, dice: [1 / (1 + error), NaN] };
    },
    best: async () => void best.push((await params.w.data())[0]),
  });
  return { run, weights: [...(await params.w.data())] as number[], best, evaluations, ...result };
}

test("train() whose signal is aborted keeps the step under way, ends with the reason, and goes on to the same bits", async () => {
  const whole = await regression("unstopped", { steps: 9 });
  // Batches are drawn a step ahead: that of step 5 comes while step 4 computes.
  await failure(() => regression("stopped", { steps: 9, abort: 5, minutes: 60 }), Killed);
  assert.is((await lines("stopped", "log.jsonl")).length, 4);
  const { weights, resumedAt } = await regression("stopped", { steps: 9, minutes: 60 });
  assert.is(resumedAt, 4);
  assert.equal(weights, whole.weights);
});

test("train() whose signal was aborted before it began throws the reason and writes nothing", async () => {
  const run = new RunFolder(join(folder, "never"), { signal: AbortSignal.abort(new Killed()) });
  const options = {
    run,
    title: "",
    classes: [],
    steps: 3,
    epochSteps: 3,
    rate: () => 1,
    state: { read: () => ({}), write() {} },
  };
  const step = () => assert.unreachable() as never;
  await failure(() => train({ ...options, batch: step, step }), Killed);
  assert.not(await platform.exists(join(folder, "never")));
});

const lines = async (name: string, file: string): Promise<any[]> =>
  (await readFile(join(folder, name, file), "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line));

/** The message of an error of the kind. */
test("trainLoop() killed again and again ends as one that is not, to the last bit", async () => {
  const whole = await regression("whole", { steps: 14 });
  assert.equal(whole.records.map((r) => r.step), Array.from({ length: 14 }, (_, k) => k + 1));
  assert.equal(whole.epochs.map((e) => [e.epoch, e.step]), [[1, 4], [2, 8], [3, 12], [4, 14]]);
  for (const kill of [2, 3, 6, 9, 13, 14]) {
    await failure(regression("killed", { steps: 14, kill }), Killed);
  }
  const rest = await regression("killed", { steps: 14 });
  assert.equal(rest.weights, whole.weights);
  assert.ok(rest.resumedAt >= 12 && rest.evaluations < 3);
  const bare = (list: readonly any[]) => list.map(({ seconds: _, ...others }) => others);
  assert.equal(bare(rest.epochs), bare(whole.epochs));
  assert.equal(bare(await lines("killed", "log.jsonl")), bare(await lines("whole", "log.jsonl")));
  assert.equal(bare(await lines("killed", "epochs.jsonl")), bare(await lines("whole", "epochs.jsonl")));
  const [a, b] = await Promise.all(
    ["killed", "whole"].map((name) => readFile(join(folder, name, "progress.svg"), "utf8")),
  );
  assert.match(a, "moving average");
  assert.match(b, "Pseudo-Dice (validation patches)");
});

test("trainLoop() averages as nnU-Net does, and keeps the weights of the highest average as best", async () => {
  const { epochs } = await regression("average", { steps: 12, minutes: 100 });
  let average: number | undefined;
  for (const epoch of epochs) {
    average = average === undefined ? epoch.dice![0] : 0.9 * average + 0.1 * epoch.dice![0];
    assert.is(epoch.average, average);
    const own = (await lines("average", "log.jsonl")).filter((r) => r.step > epoch.step - 4 && r.step <= epoch.step);
    assert.ok(Math.abs(epoch.loss - own.reduce((sum, r) => sum + r.loss, 0) / 4) < 1e-12);
  }
});

test("trainLoop() continues a finished training when more steps are requested", async () => {
  const first = await regression("longer", { steps: 5, minutes: 100 });
  assert.is(first.resumedAt, 0);
  const more = await regression("longer", { steps: 9, minutes: 100 });
  assert.is(more.resumedAt, 5);
  const whole = await regression("straight", { steps: 9, minutes: 100 });
  assert.equal(more.weights, whole.weights);
  assert.equal((await lines("longer", "log.jsonl")).map((r) => r.step), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("trainLoop() on a full disk keeps the checkpoint before, warns, and continues", async () => {
  const { writeFile: write, appendFile: append, log } = shared;
  const said: string[] = [];
  const full = (path: string) =>
    new PlatformError("file-failed", `Cannot write ${path}: no space left on device`, path);
  await regression("full", { steps: 3 });
  const before = await readFile(join(folder, "full/checkpoint.safetensors"));
  let between: Buffer | undefined;
  try {
    let failures = 0;
    shared.log = (line) => void said.push(line);
    shared.writeFile = async (path, data) => {
      if (path.endsWith("checkpoint.safetensors")) {
        between ??= await readFile(path);
        // Four in between, and the last one twice.
        if (failures++ < 6) throw full(path);
      }
      return write.call(shared, path, data);
    };
    shared.appendFile = async (path, data) => {
      if (failures > 0 && failures < 4) {
        await append.call(shared, path, data.slice(0, 7)); // what a full disk may leave
        throw full(path);
      }
      return append.call(shared, path, data);
    };
    await regression("full", { steps: 8 });
    assert.ok(before.equals(between!));
  } finally {
    Object.assign(shared, { writeFile: write, appendFile: append, log });
  }
  assert.match(said.join("\n"), /The checkpoint could not be written.*no space left on device/);
  assert.match(said.join("\n"), /The log is kept in memory/);
  assert.match(
    said.join("\n"),
    /checkpoint\.safetensors.*tried again every 2 s: make room.*\n[^]*checkpoint\.safetensors is written now/,
  );
  assert.equal((await lines("full", "log.jsonl")).map((r) => r.step), [1, 2, 3, 4, 5, 6, 7, 8]);
  const whole = await regression("enough", { steps: 8 });
  const done = await regression("full", { steps: 8 });
  assert.equal([done.resumedAt, done.weights], [8, whole.weights]);
});

test("JsonLines.resume() continues a log that was cut in the middle of a line", async () => {
  const run = await openRun({ name: "cut", folder: join(folder, "cut") });
  await writeFile(join(folder, "whole/cut.jsonl"), "");
  await run.write("log.jsonl", '{"step":1}\n{"step":2}\n{"step":3}\n{"st');
  const log = new JsonLines<{ step: number }>(run, "log.jsonl");
  assert.equal(await log.resume(({ step }) => step <= 5), [{ step: 1 }, { step: 2 }, { step: 3 }]);
  assert.equal(await log.resume(({ step }) => step <= 2), [{ step: 1 }, { step: 2 }]);
  await log.add({ step: 7 });
  await log.flush();
  assert.equal((await lines("cut", "log.jsonl")).map((r) => r.step), [1, 2, 7]);
});

test("trainLoop() names the operator where a loss became NaN, a step before", async () => {
  // The weight goes 2, 1, 0, -1: its logarithm is no number after the third update.
  let w = tensor(2);
  const step = compile((value: Tensor) => [value.sub(1), logarithm(value.add(1e-30)).reshape({ shape: [1] })]);
  const error = await failure(trainLoop({
    steps: 9,
    classes: [],
    rate: () => 0.5,
    batch: () => 0,
    step: async () => {
      let figures: Tensor;
      [w, figures] = (await step(w)) as [Tensor, Tensor];
      return figures;
    },
    state: { every: 50, read: () => ({ w }), write: (s: any) => ({ w } = s) },
  }));
  assert.match(error.message, /the loss is NaN at step 4 \(rate 0\.500\); first not finite: log, the output/);
});

test("step.lossScaleState() is restored by restoreLossScale()", async () => {
  const step = compile((x: Tensor) => x.mul(2), { precision: "f32" });
  assert.is(await step.lossScale(), 1);
  step.restoreLossScale(tensor([8, 5]));
  assert.equal([...(await step.lossScaleState().data())], [8, 5]);
  await evaluate(await step(tensor([1])));
  assert.equal([...(await step.lossScaleState().data())], [8, 5]);
  assert.throws(() => step.restoreLossScale(tensor([1, 2, 3])), /of lossScaleState/);
});

test.run();
