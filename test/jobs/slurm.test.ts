// Jobs as an array of Slurm: with a constraint, of which one is put back into the queue while it runs.
// VOXGRAD_JOBS_SLURM=1 runs 40 more, which takes some 10 minutes; VOXGRAD_JOBS_ALONE says how many of them are compared
// with runs alone.
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Record, said, scratch, skips, sleep, slurm, tiny } from "./servers.ts";

const fix = "as root: apt-get install slurm-wlm";
if (process.getuid?.() !== 0) console.log(`Skipped: only root starts Slurm's daemons (${fix})`);
else if (!skips(["slurmctld", "slurmd", "sbatch"], fix)) {
  const folder = await scratch("array");
  const cluster = await slurm();
  test.after(async () => {
    await cluster.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
  });

  const states = async (): Promise<Record[]> => {
    const table = await said(folder, ["jobs"]);
    const ids = [...table.matchAll(/^([0-9a-f]{16}) /gm)].map(([, id]) => id);
    return Promise.all(
      ids.map(async (id) => JSON.parse(await readFile(join(folder, "jobs", id, "state.json"), "utf8"))),
    );
  };
  /** Puts the task of a job back into the queue. */
  const requeue = async (id: string): Promise<void> => {
    const ids = (await readFile(join(folder, "jobs", "array.sh"), "utf8")).match(/^ids=\((.*)\)$/m)![1].split(" ");
    const lines = cluster.ask("squeue", ["-h", "-r", "-o", "%A %F_%K"]).split("\n");
    const line = lines.find((each) => each.endsWith(`_${ids.indexOf(id)}`));
    try {
      if (line) cluster.ask("scontrol", ["requeue", line.split(" ")[0]]);
    } catch (error) {
      // It may have ended by now, or be waiting already.
      if (!/pending|Invalid job id|already/i.test((error as Error).message)) throw error;
    }
  };
  /** Slurm waits for two minutes before it runs a task again. */
  const hurry = (): void => {
    for (const line of cluster.ask("squeue", ["-h", "-r", "-t", "PD", "-o", "%A %r"]).split("\n")) {
      if (line.includes("BeginTime")) {
        cluster.ask("scontrol", ["update", `JobId=${line.split(" ")[0]}`, "StartTime=now"]);
      }
    }
  };
  const bytes = (path: string): Promise<Buffer> => readFile(join(folder, path, "model.safetensors"));

  test("submit --slurm runs an array, and a task that was requeued ends with the results of a run alone", async () => {
    await writeFile(
      join(folder, "profile.json"),
      JSON.stringify({ constraint: "amd|intel", time: "20:00", atOnce: 2 }),
    );
    const options = [...tiny(60), "--features", "2,4", "--patch", "8,8,8", "--folds", "3"];
    const words = ["submit", "train_unet", ...options, "--fold", "each", "--slurm", "profile.json"];
    assert.match(await said(folder, words, cluster.env), "Submitted batch job");
    let requeued = "";
    for (let tries = 0;; tries++) {
      assert.ok(tries < 500, "it takes too long");
      await sleep(2000);
      const now = await states();
      if (now.every(({ state }) => state === "done")) break;
      const running = now.find(({ state, progress }) => state === "running" && (progress?.total ?? 0) === 60);
      if (running && requeued === "") {
        requeued = running.job.id;
        await requeue(requeued);
      }
      hurry();
    }
    assert.is.not(requeued, "");
    const all = await states();
    assert.is(all.find(({ job }) => job.id === requeued)!.attempts, 2);
    const fold = /fold (\d)/.exec(all.find(({ job }) => job.id === requeued)!.job.name)![1];
    await said(folder, ["train_unet", ...options, "--fold", fold, "--run", "alone"]);
    assert.ok((await bytes("alone")).equals(await bytes(`jobs/${requeued}/run`)));
  });

  if (process.env.VOXGRAD_JOBS_SLURM) {
    test("40 jobs of Slurm are done though a task is requeued every 20 s, with the results of runs alone", async () => {
      await rm(join(folder, "jobs"), { recursive: true });
      const grid = { optimizer: ["adam", "sgd"], patch: ["8,8,8", "10,8,8"] };
      await writeFile(join(folder, "grid.json"), JSON.stringify(grid));
      const words = ["train_unet", ...tiny(), "--features", "2,4"];
      const more = ["--fold", "each", "--seeds", "1..2", "--grid", "grid.json", "--slurm", "profile.json"];
      assert.match(await said(folder, ["submit", ...words, ...more], cluster.env), "40 jobs");
      let last = performance.now();
      for (;;) {
        await sleep(5000);
        const now = await states();
        const failed = now.filter(({ state }) => state === "failed");
        assert.equal(failed, []);
        if (now.length === 40 && now.every(({ state }) => state === "done")) break;
        hurry();
        const running = now.find(({ state, attempts }) => state === "running" && attempts < 3);
        if (!running || performance.now() - last < 20_000) continue;
        last = performance.now();
        await requeue(running.job.id);
      }
      const all = (await states()).sort((a, b) => b.attempts - a.attempts);
      console.log(`40 jobs done, ${all.filter(({ attempts }) => attempts > 1).length} of them requeued`);
      for (const { job } of all.slice(0, Number(process.env.VOXGRAD_JOBS_ALONE ?? 2))) {
        const [, patch, seed, fold] = /patch (\S+) seed (\d) fold (\d)/.exec(job.name)!;
        const optimizer = /optimizer (\w+)/.exec(job.name)![1];
        const own = ["--patch", patch, "--seed", seed, "--fold", fold, "--optimizer", optimizer];
        await said(folder, [...words, ...own, "--run", "alone", "--overwrite"]);
        assert.ok((await bytes("alone")).equals(await bytes(`jobs/${job.id}/run`)), job.name);
      }
    });
  }
}

test.run();
