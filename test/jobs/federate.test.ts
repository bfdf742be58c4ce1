// A federation at a server of NATS: sites that come and go, and messages that are refused by name.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { setHost } from "../../engine/platform/host.ts";
import { VERSION } from "../../engine/core/version.ts";
import { joinFederation, openChannel, RunFolder, serveFederation } from "../../engine/train/mod.ts";
import { failure } from "../helpers/refuse.ts";
import { natsServer, skips } from "./servers.ts";

if (!skips(["nats-server"], "apt-get install nats-server")) {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-federation-"));
  const server = await natsServer(() => 'authorization { token: "secret" }\n');
  const lines: string[] = [];
  setHost({ log: (line) => void lines.push(line), onProgress: undefined });
  test.after(async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });
  const rounds = 5;
  /** Sites by the weight that each draws the weights to, and its samples. */
  const sites = { north: [1, 10], east: [2, 20], south: [4, 10], west: [8, 30] } as const;
  /** A site is missing in a fifth of all rounds: it gives NaN there, or does not answer. */
  const missing: Record<number, string> = { 1: "east", 2: "west", 4: "south", 5: "north" };
  const open = () => openChannel(server.url, "organs", "secret");

  test("openChannel() refuses a wrong token", async () => {
    const error = await failure(openChannel(server.url, "organs", "wrong"), Error);
    assert.match(error.message, /no server of NATS answers|Authorization/i);
  });

  test("serveFederation() gives the weighted mean of the sites of each round, and refuses by name", async () => {
    const run = new RunFolder(folder);
    const kept: Float32Array[] = [];
    const serverChannel = await open();
    const served = serveFederation(serverChannel, run, new Float32Array(33), {
      ...{ rounds, sites: 4, least: 2, patience: 4, task: {}, shapes: "net", noise: 0 },
      keep: async (_, weights) => void kept.push(Float32Array.from(weights)),
    });
    const stranger = await open();
    const ask = async (message: { readonly type: string; readonly [key: string]: unknown }) =>
      (await failure(stranger.ask(message), Error)).message;
    const about = { site: "stranger", voxgrad: VERSION, samples: 3, key: "04" };
    assert.match(await ask({ ...about, type: "join", shapes: "another" }), "its network has other weights");
    assert.match(await ask({ ...about, type: "join", voxgrad: "0.0.1" }), "it is voxgrad 0.0.1, and the server is");
    const replies: string[] = [];
    const joined = Object.entries(sites).map(async ([site, [target, samples]]) => {
      const channel = await open();
      const last = await joinFederation(channel, site, {
        ...{ shapes: "net", samples, clip: 0, noise: 0, measure: async () => ({ organ: target / 10 }) },
        async train(weights, round) {
          if (missing[round] === site && round === 4) return new Promise<never>(() => undefined);
          if (missing[round] === site) return weights.map(() => NaN);
          if (round === 3 && site === "north") {
            // What came in round 2 comes again.
            replies.push(await ask({ type: "update", site: "east", round: 2, digest: "0" }));
            replies.push(await ask({ type: "update", site: "stranger", round: 3, digest: "0" }));
          }
          return weights.map((value, k) => value + (target - value) * 0.1 * (1 + k / 100));
        },
      });
      await channel.close();
      return last;
    });
    const last = await served;
    for (const other of await Promise.all(joined)) assert.equal(other, last);
    let wanted = new Array<number>(33).fill(0);
    for (let round = 1; round <= rounds; round++) {
      const here = Object.entries(sites).filter(([site]) => missing[round] !== site);
      const total = here.reduce((sum, [, [, samples]]) => sum + samples, 0);
      wanted = wanted.map((value, k) =>
        value + here.reduce((sum, [, [target, n]]) => sum + (n / total) * (target - value) * 0.1 * (1 + k / 100), 0)
      );
      wanted.forEach((value, k) => assert.ok(Math.abs(kept[round - 1][k] - value) < 1e-5, `round ${round}`));
    }
    assert.match(replies[0], "its update is of round 2; this is round 3");
    assert.match(replies[1], "it has not joined");
    const told = lines.join("\n");
    assert.match(told, "Site east: left out of round 1: its update holds NaN; its training has diverged");
    assert.match(told, "Site east: refused: its update is of round 2; this is round 3");
    assert.match(told, "Round 4 of 5: 3 sites, without south");
    // What the server keeps: names and a norm a round.
    const log = await readFile(join(folder, "federation.jsonl"), "utf8");
    assert.is(log.trim().split("\n").length, rounds);
    for (const line of log.trim().split("\n")) {
      assert.equal(Object.keys(JSON.parse(line)).sort(), ["kept", "members", "missing", "norm", "round"]);
    }
    await stranger.close();
    await serverChannel.close();
  });
}

test.run();
