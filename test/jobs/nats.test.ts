// 40 jobs on three workers of a server of NATS, of which one is killed every 20 seconds, and the server once.
// VOXGRAD_JOBS_ALONE=40 compares all results with those of runs alone; 2 unless given.
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { sha256 } from "../../engine/core/digest.ts";
import { kill, natsServer, type Record, said, scratch, skips, sleep, type Started, tiny, voxgrad } from "./servers.ts";

const alone = Number(process.env.VOXGRAD_JOBS_ALONE ?? 2);

/** The records of all jobs. */
async function records(server: string): Promise<Record[]> {
  const connection = await connect({ servers: server });
  const kv = await new Kvm(jetstream(connection)).open("voxgrad_jobs");
  const found: Record[] = [];
  for await (const key of await kv.keys()) found.push((await kv.get(key))!.json());
  await connection.close();
  return found;
}

if (!skips(["nats-server"], "apt-get install nats-server")) {
  const folder = await scratch("jobs");
  const server = await natsServer();
  const workers: Started[] = [];
  const logs: Started[] = [];
  test.after(async () => {
    for (const { child } of workers) kill(child);
    await server.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
  });
  const begin = (): Started => {
    const worker = voxgrad(folder, ["worker", "--nats", server.url]);
    logs.push(worker);
    return worker;
  };

  test("submit() adds a job once, and refuses what the script refuses", async () => {
    const grid = { optimizer: ["adam", "sgd"], patch: ["8,8,8", "10,8,8"] };
    await writeFile(join(folder, "grid.json"), JSON.stringify(grid));
    const words = ["submit", "train_unet", ...tiny(), "--features", "2,4", "--fold", "each", "--seeds", "1..2"];
    const all = [...words, "--grid", "grid.json", "--nats", server.url];
    assert.match(await said(folder, all), "40 jobs: 40 submitted");
    assert.match(await said(folder, all), "40 jobs: 0 submitted to " + server.url + ", 40 there already");
    const wrong = voxgrad(folder, ["submit", "train_unet", "--stepz", "2", "--nats", server.url]);
    assert.is(await wrong.ended, 1);
    assert.match(wrong.output, "Unknown key --stepz: did you mean --steps?");
  });

  test("40 jobs are done once each though workers are killed every 20 s and the server once", async () => {
    for (let k = 0; k < 3; k++) workers.push(begin());
    let [kills, restarted, last] = [0, false, performance.now()];
    const end = performance.now() + 25 * 60_000;
    for (;;) {
      await sleep(2000);
      const states = await records(server.url);
      const done = states.filter(({ state }) => state === "done").length;
      if (done === 40 || states.some(({ state }) => state === "failed")) break;
      assert.ok(performance.now() < end, "25 minutes were not enough");
      if (done >= 5 && !restarted) {
        await server.end();
        await sleep(3000);
        await server.begin();
        restarted = true;
      }
      if (performance.now() - last < 20_000) continue;
      last = performance.now();
      const at = kills++ % workers.length;
      kill(workers[at].child);
      await workers[at].ended;
      workers[at] = begin();
    }
    const states = await records(server.url);
    assert.is(states.length, 40);
    const left = states.filter(({ state }) => state !== "done");
    assert.equal(left, [], logs.map(({ output }) => output).join("\n"));
    assert.ok(restarted && kills > 0);
    const ends = logs.flatMap(({ output }) => [...output.matchAll(/^(.*): done, results/gm)].map(([, name]) => name));
    assert.is(new Set(ends).size, ends.length, "a job was done twice");
    const again = states.filter(({ attempts }) => attempts > 1).length;
    console.log(`${kills} workers killed, ${again} jobs begun more than once`);
    for (const { child } of workers) kill(child, "SIGTERM");
    await Promise.all(workers.map(({ ended }) => ended));
  });

  test("a job's results are those of a run alone", async () => {
    // Jobs that were begun more than once first.
    const states = (await records(server.url)).sort((a, b) => b.attempts - a.attempts);
    for (const { job, results } of states.slice(0, alone)) {
      const [, patch, seed, fold] = /patch (\S+) seed (\d) fold (\d)/.exec(job.name)!;
      const optimizer = /optimizer (\w+)/.exec(job.name)![1];
      const words = ["--features", "2,4", "--patch", patch, "--seed", seed, "--fold", fold, "--optimizer", optimizer];
      await said(folder, ["train_unet", ...tiny(), ...words, "--run", "alone", "--overwrite"]);
      const model = await readFile(join(folder, "alone/model.safetensors"));
      assert.is(await sha256(new Uint8Array(model)), results!["model.safetensors"], job.name);
    }
  });
}

test.run();
