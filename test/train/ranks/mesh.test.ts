// Ranks of one process exchange vectors, also when one of them comes anew in the middle of a step.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { RankMesh, Restart } from "../../../engine/train/ranks/ranks.ts";
import { treeSum } from "../../../engine/train/ranks/tree_sum.ts";
import { failure } from "../../helpers/refuse.ts";

/** Values of several magnitudes, whose sum depends on the order. */
const vector = (length: number, seed: number): Float32Array =>
  Float32Array.from({ length }, (_, k) => Math.sin(k * (seed + 1)) * 10 ** (k % 7));

async function opened(ranks: number, half = false): Promise<RankMesh[]> {
  const root = await RankMesh.open({ rank: 0, ranks, at: "", half, about: { patch: 8 } });
  const others = Array.from({ length: ranks - 1 }, (_, k) => member(root, k + 1, half));
  return [root, ...await Promise.all(others)];
}
async function member(root: RankMesh, rank: number, half = false): Promise<RankMesh> {
  const mesh = await RankMesh.open({ rank, ranks: root.size, at: root.at, half });
  await mesh.hello();
  return mesh;
}
const state = async (): Promise<Uint8Array> => new Uint8Array([1, 2, 3]);
const begun = ([root, ...others]: RankMesh[], step: number) =>
  Promise.all([root.ready(step, state), ...others.map((mesh) => mesh.welcome())]);

test("RankMesh.sum() gives all ranks the sum in the order of treeSum(), of vectors of any length", async () => {
  for (const ranks of [2, 4]) {
    const all = await opened(ranks);
    const [, ...welcomes] = await begun(all, 7);
    for (const welcome of welcomes) {
      assert.equal({ ...welcome!, state: [...welcome!.state] }, {
        generation: 1,
        options: { patch: 8 },
        step: 7,
        state: [1, 2, 3],
      });
    }
    for (const [call, length] of [0, 1, 4095, 8192, 20_001, 100_003].entries()) {
      const parts = all.map((_, rank) => vector(length, rank));
      const sums = await Promise.all(all.map((mesh, rank) => mesh.sum(call, parts[rank])));
      for (const sum of sums) assert.equal(sum, treeSum(parts));
    }
    for (const mesh of all) mesh.close();
  }
});

test("RankMesh.sum() sends each rank the same, whatever the number of ranks", async () => {
  for (const ranks of [2, 4]) {
    const all = await opened(ranks);
    await begun(all, 1);
    const before = all.map(({ bytes }) => bytes);
    await Promise.all(all.map((mesh, rank) => mesh.sum(0, vector(400_000, rank))));
    // Slices of the others, and its own to the others.
    const wanted = 2 * 4 * 400_000 * (1 - 1 / ranks);
    all.forEach(({ bytes }, rank) => {
      const sent = bytes - before[rank];
      assert.ok(sent >= wanted && sent < wanted + 1000, `rank ${rank} of ${ranks} sent ${sent}, not ${wanted}`);
    });
    for (const mesh of all) mesh.close();
  }
});

test("RankMesh.sum() of half travels as f16, and is the same on all ranks", async () => {
  const all = await opened(2, true);
  await begun(all, 1);
  const parts = [new Float32Array(9000).fill(1 / 3), new Float32Array(9000).fill(2)];
  const sums = await Promise.all(all.map((mesh, rank) => mesh.sum(0, parts[rank])));
  assert.equal(sums[0], sums[1]);
  // f16 of 1/3 is 0.333251953125; its sum with 2 is rounded to steps of 2^-9.
  assert.is(sums[0][5], 2.333984375);
  const exact = await Promise.all(all.map((mesh, rank) => mesh.sum(1, parts[rank], true)));
  assert.is(exact[0][5], Math.fround(Math.fround(1 / 3) + 2));
  for (const mesh of all) mesh.close();
});

test("RankMesh.compare() gives rank 0 all vectors, and the others that of rank 0", async () => {
  const all = await opened(4);
  await begun(all, 1);
  const parts = all.map((_, rank) => vector(10, rank));
  const seen = await Promise.all(all.map((mesh, rank) => mesh.compare(3, parts[rank])));
  assert.equal(seen[0], parts);
  for (const own of seen.slice(1)) assert.equal(own, [parts[0]]);
  for (const mesh of all) mesh.close();
});

test("RankMesh: a rank that comes anew in the middle of a step lets all begin it again", async () => {
  const all = await opened(4);
  await begun(all, 1);
  const parts = all.map((_, rank) => vector(50_000, rank));
  // Rank 2 is gone before it has sent anything: the others wait.
  all[2].close();
  const [root, ...others] = [0, 1, 3].map((rank) => failure(all[rank].sum(4, parts[rank]), Restart));
  all[2] = await member(all[0], 2);
  await root;
  const welcomes = Promise.all([others[0].then(() => all[1].welcome()), all[2].welcome()]
    .concat(others[1].then(() => all[3].welcome())));
  await all[0].ready(1, state);
  assert.equal((await welcomes).map(({ step }) => step), [1, 1, 1]);
  const sums = await Promise.all(all.map((mesh, rank) => mesh.sum(4, parts[rank])));
  for (const sum of sums) assert.equal(sum, treeSum(parts));
  for (const mesh of all) mesh.close();
});

test("RankMesh.open() refuses an address that is none, and one that is taken", async () => {
  const open = (at: string) => RankMesh.open({ rank: 0, ranks: 2, at, half: false });
  assert.match((await failure(open("localhost:1"), Error)).message, "localhost:1 is no address: write it as tcp://");
  const taken = await open("");
  assert.match((await failure(open(taken.at), Error)).message, /cannot be bound .*; name a free port/);
  taken.close();
});

test.run();
