// Jobs as an array of Slurm: with a constraint, of which one is put back into the queue while it runs.
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

  test("submit --slurm runs an array, and a task that was requeued ends with the results of a run alone", async () => {
    await writeFile(
      join(folder, "profile.json"),
      JSON.stringify({ constraint: "amd|intel", time: "20:00", atOnce: 2 }),
    );
    const options = [...tiny(60), "--features", "2,4", "--patch", "8,8,8", "--folds", "3"];
    const words = ["submit", "train_unet", ...options, "--fold", "each", "--slurm", "profile.json"];
    assert.match(await said(folder, words, cluster.env), "Submitted batch job");
    const states = async (): Promise<Record[]> => {
      const table = await said(folder, ["jobs"]);
      const ids = [...table.matchAll(/^([0-9a-f]{16}) /gm)].map(([, id]) => id);
      return Promise.all(
        ids.map(async (id) => JSON.parse(await readFile(join(folder, "jobs", id, "state.json"), "utf8"))),
      );
    };
    let requeued = "";
    for (let tries = 0;; tries++) {
      assert.ok(tries < 500, "it takes too long");
      await sleep(2000);
      const now = await states();
      if (now.every(({ state }) => state === "done")) break;
      const running = now.find(({ state, progress }) => state === "running" && (progress?.total ?? 0) === 60);
      if (running && requeued === "") {
        requeued = running.job.id;
        const log = (await readFile(join(folder, "jobs", "array.sh"), "utf8")).match(/^ids=\((.*)\)$/m)![1].split(" ");
        const task = log.indexOf(requeued);
        const [line] = cluster.ask("squeue", ["-h", "-r", "-o", "%A %F_%K"]).split("\n").filter((l) =>
          l.endsWith(`_${task}`)
        );
        cluster.ask("scontrol", ["requeue", line.split(" ")[0]]);
      }
      // Slurm waits for two minutes before it runs a task again.
      for (const line of cluster.ask("squeue", ["-h", "-r", "-t", "PD", "-o", "%A %r"]).split("\n")) {
        if (line.includes("BeginTime")) {
          cluster.ask("scontrol", ["update", `JobId=${line.split(" ")[0]}`, "StartTime=now"]);
        }
      }
    }
    assert.is.not(requeued, "");
    const all = await states();
    assert.is(all.find(({ job }) => job.id === requeued)!.attempts, 2);
    const fold = /fold (\d)/.exec(all.find(({ job }) => job.id === requeued)!.job.name)![1];
    await said(folder, ["train_unet", ...options, "--fold", fold, "--run", "alone"]);
    const bytes = (path: string): Promise<Buffer> => readFile(join(folder, path, "model.safetensors"));
    assert.ok((await bytes("alone")).equals(await bytes(`jobs/${requeued}/run`)));
  });
}

test.run();
