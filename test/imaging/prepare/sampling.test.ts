import { test } from "uvu";
import * as assert from "uvu/assert";
import { scaling } from "../../../engine/imaging/volume/affine.ts";
import { Prng } from "../../../engine/core/prng.ts";
import {
  casesOf,
  type CaseSource,
  extractBox,
  inMemory,
  patchStart,
  roundHalfEven,
  sampleBatch,
  samplePatch,
  withChannels,
} from "../../../engine/imaging/prepare/sampling.ts";
import { checkSplits, kFold } from "../../../engine/imaging/dataset/split.ts";
import { makeVolume } from "../../../engine/imaging/volume/volume.ts";

/** A case whose voxels all differ: X, Y, Z = 5, 4, 3, two channels, three lone foreground voxels. */
function made(id = "made", channels = 2) {
  const count = 60;
  const affine = scaling([1, 2, 3]);
  const image = makeVolume(
    Float32Array.from({ length: count * channels }, (_, i) => i + 1),
    {
      shape: [5, 4, 3],
      affine,
      channels,
      name: id,
    },
  );
  const label = makeVolume(new Uint8Array(count), { shape: [5, 4, 3], affine, name: id });
  label.data[0] = 1;
  label.data[59] = 2;
  label.data[33] = 2;
  return {
    id,
    channels,
    shape: [3, 4, 5] as const,
    spacing: [3, 2, 1] as const,
    image: image.data as Float32Array<ArrayBuffer>,
    label: label.data as Uint8Array<ArrayBuffer>,
    foreground: [{ value: 1, voxels: Uint32Array.of(0) }, { value: 2, voxels: Uint32Array.of(33, 59) }],
  };
}

test("extractBox() agrees with a plain loop: odd sizes, outside starts", () => {
  const prng = new Prng(1);
  const shape = [3, 4, 5];
  const source = Float32Array.from({ length: 120 }, (_, i) => i + 1);
  for (let round = 0; round < 300; round++) {
    const size = [1 + prng.integer(6), 1 + prng.integer(6), 1 + prng.integer(7)];
    const start = [0, 1, 2].map(() => prng.integer(12) - 6);
    const at = prng.integer(3);
    const out = new Float32Array(at + 2 * size[0] * size[1] * size[2]).fill(9);
    extractBox(source, shape, out, { channels: 2, start, size, at });
    for (let i = 0; i < at; i++) assert.is(out[i], 9);
    let next = at;
    for (let c = 0; c < 2; c++) {
      for (let k = 0; k < size[0]; k++) {
        for (let j = 0; j < size[1]; j++) {
          for (let i = 0; i < size[2]; i++) {
            const p = [k, j, i].map((v, axis) => start[axis] + v);
            const inside = p.every((v, axis) => v >= 0 && v < shape[axis]);
            const want = inside ? source[((c * 3 + p[0]) * 4 + p[1]) * 5 + p[2]] : 0;
            if (out[next++] !== want) assert.unreachable(`${[c, k, j, i]} of ${JSON.stringify({ size, start })}`);
          }
        }
      }
    }
  }
});

test("patchStart() stays inside, centers short axes, and draws classes alike", () => {
  const item = made();
  const counts = new Map<string, number>();
  for (let i = 0; i < 600; i++) {
    const start = patchStart(new Prng(2).fork(i), item, { patch: [1, 1, 1], foreground: true });
    counts.set(String(start), (counts.get(String(start)) ?? 0) + 1);
  }
  assert.equal([...counts.keys()].sort(), ["0,0,0", "1,2,3", "2,3,4"]);
  assert.ok(Math.abs(counts.get("0,0,0")! - 300) < 60, "a class of one voxel is drawn as often as one of two");
  for (let i = 0; i < 200; i++) {
    const [z, y, x] = patchStart(new Prng(3).fork(i), item, { patch: [2, 7, 3], foreground: i % 2 === 0 });
    assert.ok(z >= 0 && z <= 1 && x >= 0 && x <= 2);
    assert.is(y, -1, "7 around 4: 1 before, 2 after");
  }
  const seen = new Set(
    Array.from({ length: 300 }, (_, i) => String(patchStart(new Prng(4).fork(i), item, { patch: [2, 2, 2] }))),
  );
  assert.is(seen.size, 2 * 3 * 4, "every position occurs");
});

test("samplePatch() cuts image and label alike, the same for the same seed", () => {
  const item = made();
  const other = { ...item, image: Float32Array.from([...item.label, ...item.label]) };
  for (let step = 0; step < 60; step++) {
    const options = { patch: [3, 2, 7], foreground: true };
    const { image, label } = samplePatch(new Prng(5).fork(step), other, options);
    assert.equal([image.length, label.length], [84, 42]);
    assert.ok(label instanceof Int32Array && label.some((v) => v > 0));
    assert.equal([...image.slice(0, 42)], [...label]);
    const again = samplePatch(new Prng(5).fork(step), other, options);
    assert.equal(again.image, image);
  }
});

test("sampleBatch() forces foreground on nnU-Net's share of a batch", async () => {
  const item = made();
  const cases = inMemory([item, made("second")]);
  const share = async (batch: number, foreground: number) => {
    let hits = new Array(batch).fill(0);
    for (let step = 0; step < 40; step++) {
      const { label } = await sampleBatch(new Prng(6).fork(step), cases, { batch, patch: [1, 1, 1], foreground });
      hits = hits.map((n, i) => n + (label[i] > 0 ? 1 : 0));
    }
    return hits.map((n) => n === 40);
  };
  assert.equal(await share(2, 0.33), [false, true]);
  assert.equal(await share(3, 0.33), [false, false, true]);
  assert.equal(await share(2, 0.25), [false, false], "round(1.5) is 2, halves to even");
  assert.equal(await share(2, 1), [true, true]);
  const whole = { batch: 4, patch: [2, 3, 4] };
  const one = await sampleBatch(new Prng(7), cases, whole);
  assert.equal([one.image.length, one.label.length, one.ids.length], [4 * 2 * 24, 4 * 24, 4]);
  assert.equal(await sampleBatch(new Prng(7), cases, whole), one);
  const failure = (source: CaseSource) =>
    sampleBatch(new Prng(1), source, { batch: 8, patch: [1, 1, 1] }).then(
      () => "none",
      (error: Error) => error.message,
    );
  assert.match(await failure(inMemory([])), "no cases");
  assert.match(await failure(inMemory([item, made("b", 1)])), /has \d channel\(s\)/);
  assert.match(await failure(casesOf(cases, ["absent"])), "there is no case absent");
});

test("kFold() holds every case out once, in parts of one size, whatever the order of the ids", () => {
  const ids = Array.from({ length: 23 }, (_, k) => `case_${k}`);
  const folds = kFold(ids, { folds: 5, seed: 3 });
  assert.equal(folds.flatMap((fold) => fold.val).sort(), [...ids].sort());
  for (const { train, val } of folds) {
    assert.equal([...train, ...val].sort(), [...ids].sort());
    assert.ok(val.length === 4 || val.length === 5);
  }
  assert.equal(kFold([...ids].reverse(), { folds: 5, seed: 3 }), folds);
  assert.not.equal(kFold(ids, { folds: 5, seed: 4 }), folds);
  assert.throws(() => kFold(ids, { folds: 24 }), /24 folds of 23 cases/);
  assert.throws(() => kFold(["a", "a", "b"], { folds: 2 }), /an id occurs twice/);
});

test("checkSplits() takes nnU-Net's splits and names what does not fit", () => {
  const ids = ["a", "b", "c"];
  const good = [{ train: ["a", "b"], val: ["c"] }, { train: ["c"], val: [] }];
  assert.equal(checkSplits(good, ids, "s.json"), good);
  assert.throws(() => checkSplits({}, ids, "s.json"), /s\.json: it is no list of folds/);
  assert.throws(() => checkSplits([{ train: ["a"] }], ids, "s.json"), /fold 0 has no list "val"/);
  assert.throws(() => checkSplits([{ train: ["a", "x"], val: [] }], ids, "s.json"), /names "x", which is no case/);
  assert.throws(() => checkSplits([{ train: ["a"], val: ["a"] }], ids, "s.json"), /names a twice/);
  assert.throws(() => checkSplits([{ train: [], val: ["a"] }], ids, "s.json"), /nothing to train on/);
});

test("roundHalfEven() rounds as Python does", () => {
  const values = [0.5, 1.5, 2.5, 1.34, -0.5, -1.5, 2.6, 7];
  assert.equal(
    values.map((v) => roundHalfEven(v) + 0),
    [0, 2, 2, 1, 0, -2, 3, 7],
  );
});

test("withChannels() keeps as many bytes as it may, the latest used; a case that failed is asked again", async () => {
  const shape = [4, 5, 6] as const;
  const caseOf = (id: string) => ({
    id,
    channels: 1,
    shape,
    spacing: [1, 1, 1] as const,
    image: new Float32Array(120),
    label: new Uint8Array(120),
    foreground: [{ value: 1, voxels: new Uint32Array(3) }],
  });
  const ids = ["a", "b", "c", "d"];
  const made: string[] = [];
  let broken = true;
  // Image and one channel of 120 floats each, 120 labels, 3 voxels.
  const size = 2 * 480 + 120 + 12;
  const source = withChannels(inMemory(ids.map(caseOf)), async ({ id }) => {
    made.push(id);
    if (id === "d" && broken) throw new Error("no distance");
    return new Float32Array(120).fill(7);
  }, { memory: 2 * size + 100 });
  const get = async (...list: string[]) => {
    made.length = 0;
    for (const id of list) assert.equal([...(await source.get(id)).image.slice(119, 122)], [0, 7, 7]);
    assert.ok(source.memory() <= 2 * size + 100, `${source.memory()} bytes`);
    return made.join("");
  };
  assert.is(await get("a", "b", "a"), "ab");
  assert.is(source.memory(), 2 * size);
  // b was used longer ago than a.
  assert.is(await get("c", "a", "c", "b"), "cb");
  assert.is(await get("a", "b"), "a");
  made.length = 0;
  await Promise.all([source.get("c"), source.get("c")]);
  assert.is(made.join(""), "c", "asked twice at once it is made once");
  assert.is(await source.get("d").then(() => "", (error) => error.message), "no distance");
  broken = false;
  assert.is(await get("d"), "d");
  const none = withChannels(inMemory(ids.map(caseOf)), async () => new Float32Array(120), { memory: 0 });
  await none.get("a");
  assert.is(none.memory(), 0);
});

test.run();
