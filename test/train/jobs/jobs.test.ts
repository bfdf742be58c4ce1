import { test } from "uvu";
import * as assert from "uvu/assert";
import { memoryFiles } from "../../../engine/platform/files/memory_files.ts";
import { setHost } from "../../../engine/platform/host.ts";
import { folderQueue } from "../../../engine/train/jobs/folder_queue.ts";
import { checkedState, type Job, makeJob, resultsIn } from "../../../engine/train/jobs/job.ts";
import { jobTable, writeJobPage } from "../../../engine/train/jobs/job_table.ts";
import { runJobs } from "../../../engine/train/jobs/jobs_script.ts";
import { arrayScript, readProfile } from "../../../engine/train/jobs/slurm.ts";
import { seedRange } from "../../../engine/train/jobs/submit.ts";
import { fetchFiles } from "../../../engine/train/jobs/work.ts";
import { refuses } from "../../helpers/refuse.ts";

const files = memoryFiles();
const lines: string[] = [];
setHost({ files, log: (line) => lines.push(line) });
const text = (content: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(content);
const read = async (path: string): Promise<string> => new TextDecoder().decode((await files.read(path))!);

const about = { name: "train_unet", needs: {} };
const made = (
  options: Record<string, string | number | boolean>,
  given: string[],
  script = "train_unet",
): Promise<Job> =>
  makeJob(script, { options: { run: "", resume: "", overwrite: false, workers: 2, ...options }, given }, about);

test("makeJob() names a job by what it computes from, and by nothing else", async () => {
  await files.write("weights.safetensors", text("a"));
  await files.write("elsewhere/w.safetensors", text("a"));
  const job = await made({ seed: 1, weights: "weights.safetensors" }, ["weights"]);
  assert.match(job.id, /^[0-9a-f]{16}$/);
  const same = await made({ seed: 1, weights: "elsewhere/w.safetensors", workers: 8 }, ["seed", "weights", "workers"]);
  assert.is(same.id, job.id);
  assert.equal(same.given, { seed: 1, workers: 8 });
  assert.is(same.inputs.weights.path, "elsewhere/w.safetensors");
  assert.is.not((await made({ seed: 2, weights: "weights.safetensors" }, ["weights"])).id, job.id);
  await files.write("other.safetensors", text("b"));
  assert.is.not((await made({ seed: 1, weights: "other.safetensors" }, ["weights"])).id, job.id);
  assert.is.not((await made({ seed: 1, weights: "weights.safetensors" }, ["weights"], "train_colab")).id, job.id);
});

test("makeJob() gives equal scans a job each, for each has a file of its own", async () => {
  const own = { options: { run: "", output: "", input: "weights.safetensors" }, given: ["input"] };
  const ids = await Promise.all(
    ["out/a", "out/b", "out/a"].map(async (file) => (await makeJob("predict", own, about, file)).id),
  );
  assert.is(ids[0], ids[2]);
  assert.is.not(ids[0], ids[1]);
});

test("makeJob() refuses --resume, and scripts whose results have no folder", async () => {
  await refuses(() => made({ resume: "runs/a" }, ["resume"]), /--resume has no effect: each job has its folder/);
  const options = { options: { steps: 3 }, given: [] };
  await refuses(() => makeJob("check", options, about), /check: its results have no folder of their own/);
});

test("fetchFiles() and queues refuse names that lead out of a folder", async () => {
  const store = { get: () => Promise.resolve(text("x")), put: () => Promise.resolve() };
  for (const name of ["../escaped", "a/../../escaped", "/escaped", "a//b", ".", "a\\b"]) {
    await refuses(() => fetchFiles(store, { [name]: "0" }, "jobs/in"), /is no name of a file in it/);
  }
  assert.is(await files.read("escaped"), undefined);
  await fetchFiles(store, { "a/b": "0" }, "jobs/in");
  assert.is(await read("jobs/in/a/b"), "x");
  const job = await made({ seed: 1 }, ["seed"]);
  const state = { job, state: "waiting" as const, attempts: 0, submitted: 0 };
  assert.is(checkedState(state, job.id), state);
  for (const id of ["../../etc", `${job.id}/..`, "0123456789abcdef"]) {
    await refuses(() => checkedState(state, id), /its record is of "[0-9a-f]{16}"; ids are 16 hexadecimal digits/);
  }
  await refuses(() => checkedState({ ...state, job: { ...job, id: "../x" } }, "../x"), /its record is of "..\/x"/);
});

test("folderQueue() gives each job once, and takes up that of a worker that ended", async () => {
  const queue = folderQueue("jobs/");
  const all = [await made({ seed: 1 }, ["seed"]), await made({ seed: 2 }, ["seed"])];
  assert.is(await queue.submit(all), 2);
  assert.is(await queue.submit(all), 0);
  const [a, b] = [await queue.take("a", () => true), await queue.take("b", () => true)];
  assert.equal([a, b].map((claim) => claim!.state.job.id), all.map(({ id }) => id));
  assert.is(await queue.take("c", () => true), undefined);
  await a!.release({ state: "waiting" });
  // A queue of another process, to which b's worker has ended.
  const other = folderQueue("jobs");
  const [again, taken] = [await other.take("c", () => true), await other.take("c", () => true)];
  assert.equal([again!.state.attempts, taken!.state.attempts], [2, 2]);
  await taken!.release({ state: "done", results: { "model.safetensors": "0" } });
  await again!.release({ state: "failed", error: "no data" });
  assert.equal((await other.list()).map(({ state }) => state), ["failed", "done"]);
});

test("take() passes over jobs that do not fit, and those that are not its own", async () => {
  const queue = folderQueue("fits");
  const [small, large] = [await made({ seed: 3 }, ["seed"]), {
    ...await made({ seed: 4 }, ["seed"]),
    needs: { memory: 64 },
  }];
  await queue.submit([large, small]);
  const claim = await queue.take("a", ({ memory = 0 }) => memory < 8);
  assert.is(claim!.state.job.id, small.id);
  const only = folderQueue("fits", new Set([large.id]));
  assert.equal((await only.list()).map(({ job }) => job.id), [large.id]);
  assert.is((await only.take("a", () => true))!.state.job.id, large.id);
  assert.is(await only.take("a", () => true), undefined);
});

test("a job that was cancelled stops, and retry() lets it wait again", async () => {
  const queue = folderQueue("cancelled");
  const job = await made({ seed: 5 }, ["seed"]);
  await queue.submit([job]);
  const claim = await queue.take("a", () => true);
  assert.is(await claim!.report({}), true);
  const act = { ids: job.id.slice(0, 6), jobs: "cancelled", watch: false, html: "" };
  await runJobs(queue, { ...act, act: "cancel" });
  assert.is(await claim!.report({}), false);
  await claim!.release({ state: "cancelled" });
  assert.is((await queue.list())[0].state, "cancelled");
  await runJobs(queue, { ...act, act: "retry", ids: "all" });
  assert.is((await queue.list())[0].state, "waiting");
  await refuses(() => runJobs(queue, { ...act, act: "retry", ids: "zz" }), /There is no job zz/);
  await refuses(() => runJobs(queue, { ...act, act: "logs", ids: "" }), /Name jobs: voxgrad jobs logs all/);
});

test("jobTable() and writeJobPage() show rate, time left and errors, and escape what others wrote", async () => {
  const job = await made({ seed: 6 }, ["seed"]);
  const base = { job, attempts: 1, submitted: 0, worker: "here" };
  const progress = { done: 10, total: 40, text: "" };
  const states = [
    { ...base, state: "running", started: 1000, updated: 6000, progress },
    { ...base, state: "failed", error: "Dataset: <b>gone</b>" },
  ] as const;
  const table = await jobTable(states);
  assert.match(table, "10/40, 2.0 a second, 15 s left");
  assert.match(table, "1 running, 1 failed");
  await writeJobPage(states, "jobs.html");
  const page = await read("jobs.html");
  assert.match(page, "&#60;b");
  assert.is(await jobTable([]), "no jobs");
});

test("resultsIn() leaves out files that hold times or devices", async () => {
  for (
    const name of ["fold_0/model.safetensors", "config.json", "log.jsonl", "checkpoint.safetensors", "metrics.csv"]
  ) {
    await files.write(`run/${name}`, text(name));
  }
  assert.equal(Object.keys(await resultsIn("run")).sort(), ["fold_0/model.safetensors", "metrics.csv"]);
});

test("seedRange() reads first and last", async () => {
  assert.equal(seedRange("1..3"), [1, 3]);
  assert.is(seedRange("3"), undefined);
  await refuses(() => seedRange("3..1"), /--seeds 3\.\.1: the last comes before the first/);
});

test("readProfile() and arrayScript() ask Slurm for what the profile says", async () => {
  const profile = { constraint: "amd|intel", time: "1:00:00", gres: "gpu:1", memory: "8G", cpus: 2, atOnce: 3 };
  await files.write("profile.json", text(JSON.stringify({ ...profile, setup: ["module load node"], adapter: "#1" })));
  const script = arrayScript(await readProfile("profile.json"), {
    folder: "/data/my jobs",
    ids: ["00aa", "11bb"],
    command: ["/usr/bin/node", "it's.mjs", "worker"],
  });
  for (
    const line of [
      "#SBATCH --array=0-1%3",
      "#SBATCH --requeue",
      "#SBATCH --constraint=amd|intel",
      "#SBATCH --mem=8G",
      "#SBATCH --cpus-per-task=2",
      "export VOXGRAD_ADAPTER='#1'",
      "module load node",
      "ids=(00aa 11bb)",
      "'/usr/bin/node' 'it'\\''s.mjs' 'worker' --jobs '/data/my jobs' --only \"${ids[$SLURM_ARRAY_TASK_ID]}\" &",
    ]
  ) assert.ok(script.split("\n").includes(line), line);
  await files.write("profile.json", text('{ "tme": "1:00" }'));
  await refuses(
    () => readProfile("profile.json"),
    /profile\.json: its tme does not fit; a profile has partition, time/,
  );
});

test.run();
