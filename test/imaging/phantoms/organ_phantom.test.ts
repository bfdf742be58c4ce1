import { test } from "uvu";
import * as assert from "uvu/assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { axisCodes } from "../../../engine/imaging/volume/affine.ts";
import { openDataset } from "../../../engine/imaging/dataset/dataset.ts";
import { crc32 } from "../../../engine/core/digest.ts";
import { loadCase } from "../../../engine/imaging/dataset/load_case.ts";
import {
  ORGAN_PHANTOM_LABELS,
  ORGAN_PHANTOM_TUMOR,
  organPhantomCase,
  organShapes,
  writeOrganPhantomDataset,
} from "../../../engine/imaging/phantoms/organ_phantom.ts";
import { Prng } from "../../../engine/core/prng.ts";
import { makeVolume } from "../../../engine/imaging/volume/volume.ts";

const ORGANS = [1, 2, 3, 4, 5];
const count = (data: ArrayLike<number>, value: number) => Array.from(data).filter((v) => v === value).length;
/** Mean place of a label along x, y, z, in voxels. */
function middle({ data, shape }: { data: ArrayLike<number>; shape: readonly number[] }, value: number): number[] {
  const sum = [0, 0, 0];
  Array.from(data).forEach((v, at) => {
    if (v !== value) return;
    [at % shape[0], Math.floor(at / shape[0]) % shape[1], Math.floor(at / (shape[0] * shape[1]))].forEach((
      p,
      axis,
    ) => (sum[axis] += p));
  });
  return sum.map((total) => total / count(data, value));
}

test("organPhantomCase() gives the same voxels on any host; another scanner the same patient", () => {
  const first = organPhantomCase({ seed: 1, shape: [20, 18, 16], scanner: 1 });
  const bytes = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  assert.is(crc32(bytes(first.image.data as Int16Array)), 764090587);
  assert.is(crc32(bytes(first.label.data as Uint8Array)), 4157734564);
  const other = organPhantomCase({ seed: 1, shape: [20, 18, 16], scanner: 2 });
  assert.equal(other.label.data, first.label.data);
  assert.not.equal(other.image.data, first.image.data);
  assert.throws(() => organPhantomCase({ seed: 1, shape: [15, 20, 20] }), RangeError);
});

test("organPhantomCase() has every organ on its side, and no threshold tells them", () => {
  for (let seed = 1; seed <= 12; seed++) {
    const { image, label } = organPhantomCase({ seed });
    assert.is(axisCodes(label.affine), "LPS");
    for (const value of ORGANS) {
      assert.ok(count(label.data, value) >= 30, `seed ${seed}: ${ORGAN_PHANTOM_LABELS[value]}`);
    }
    const [liver, spleen, , left, right] = ORGANS.map((value) => middle(label, value));
    assert.ok(liver[0] < spleen[0] && right[0] < left[0] && left[2] < spleen[2], `seed ${seed}`);
    // Of all voxels as bright as the middle half of the liver, fewer than 3 in 4 are liver.
    const own = Array.from(image.data).filter((_, k) => label.data[k] === 1).sort((a, b) => a - b);
    const [low, high] = [own[Math.floor(own.length / 4)], own[Math.floor((3 * own.length) / 4)]];
    const alike = Array.from(image.data).filter((v) => v >= low && v <= high).length;
    assert.ok(own.length / 2 < 0.75 * alike, `seed ${seed}: ${own.length / 2} of ${alike}`);
  }
});

test("organPhantomCase() bends each patient's intensities by a gamma of its own", () => {
  const taken = { seed: 4, shape: [24, 24, 24] as const };
  const [plain, bent] = [1, 1.5].map((gamma) => organPhantomCase({ ...taken, gammas: [gamma, gamma] }));
  assert.equal(bent.label.data, plain.label.data);
  for (const value of ORGANS) {
    const of = ({ image, label }: typeof plain): number[] =>
      Array.from(image.data).filter((_, k) => label.data[k] === value);
    const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length / 1000;
    // A half of b (b - 1): what varies within an organ, texture and noise, is some 0.1, and its square over 2 at most
    // 0.01.
    const b = mean(of(plain));
    assert.ok(Math.abs(mean(of(bent)) - b - 0.5 * b * (b - 1)) < 0.01, ORGAN_PHANTOM_LABELS[value]);
  }
  const images = [5, 6].map((seed) => organPhantomCase({ ...taken, seed, gammas: [0.5, 1.5] }).image.data);
  const common = [5, 6].map((seed) => organPhantomCase({ ...taken, seed }).image.data);
  const change = images.map((data, n) => Array.from(data).reduce((sum, v, k) => sum + v - common[n][k], 0));
  assert.ok(Math.abs(change[0] - change[1]) > 1000, change.join(", "));
  assert.throws(() => organPhantomCase({ ...taken, gammas: [0.5, 2.5] }), RangeError);
});

test("organPhantomCase() puts tumors into the liver, darker than it, and leaves the rest as it was", () => {
  for (let seed = 1; seed <= 6; seed++) {
    const options = { seed, shape: [32, 32, 32] as const };
    const [healthy, ill] = [organPhantomCase(options), organPhantomCase({ ...options, tumors: true })];
    const changed = Array.from(ill.label.data).flatMap((value, k) => (value === healthy.label.data[k] ? [] : [k]));
    assert.ok(
      changed.length >= 10 && changed.every((k) => healthy.label.data[k] === 1 && ill.label.data[k] === 6),
      `seed ${seed}`,
    );
    const mean = (value: number): number => {
      const own = Array.from(ill.image.data).filter((_, k) => ill.label.data[k] === value);
      return own.reduce((a, b) => a + b, 0) / own.length;
    };
    // The image's unit is a thousandth; tissues differ by 0.12 and jitter by up to 0.04 each.
    assert.ok(mean(1) - mean(6) > 20, `seed ${seed}: liver ${mean(1)}, tumor ${mean(6)}`);
  }
});

test("organShapes() takes organs from a label map, whatever its axes", () => {
  // A box for each organ in an RAS map: x of voxels grows to the right. Value 9 is another structure.
  const shape = [40, 30, 36] as const;
  const data = new Uint8Array(40 * 30 * 36);
  const boxes: [number, number[], number[]][] = [
    [6, [24, 8, 14], [36, 22, 30]],
    [1, [4, 6, 18], [10, 14, 28]],
    [10, [14, 14, 12], [24, 18, 15]],
    [3, [6, 4, 4], [13, 10, 14]],
    [2, [24, 4, 2], [31, 10, 12]],
    [9, [17, 4, 0], [21, 8, 36]],
  ];
  for (const [value, low, high] of boxes) {
    for (let k = low[2]; k < high[2]; k++) {
      for (let j = low[1]; j < high[1]; j++) {
        for (let i = low[0]; i < high[0]; i++) data[(k * 30 + j) * 40 + i] = value;
      }
    }
  }
  const ras = makeVolume(data, { shape, affine: [7, 0, 0, 0, 0, 7, 0, 0, 0, 0, 7, 0, 0, 0, 0, 1], name: "map" });
  const shapes = [organShapes(ras)];
  const tissue = (x: number, y: number, z: number) => shapes[0].tissueAt(x, y, z);
  // The organs' box is x 4..35 (its middle 19.5), so the liver at the right is at negative x.
  assert.is(tissue(-0.6, -0.1, 0.3), 1);
  assert.is(tissue(0.75, 0.3, 0.5), 2);
  assert.ok(tissue(0, 0.6, 0) > 6);
  assert.is(tissue(0, -0.7, 0.8), 6);
  assert.is(tissue(1, 1, 0), 0);
  for (let seed = 1; seed <= 4; seed++) {
    const { label } = organPhantomCase({ seed, shapes, shape: [36, 30, 32] });
    const [liver, spleen, , left, right] = ORGANS.map((value) => middle(label, value));
    assert.ok(liver[0] < spleen[0] && right[0] < left[0] && left[2] < spleen[2], `seed ${seed}`);
  }
  assert.throws(() => organShapes(ras, [6, 1, 10, 3, 8]), /map has no voxel of 8, taken for right kidney/);
  assert.throws(() => organShapes(ras, [6, 1]), /5 different/);
});

test("writeOrganPhantomDataset() writes chosen organs, or says of each case what is annotated", async () => {
  const folder = mkdtempSync(join(tmpdir(), "voxgrad-organs-"));
  try {
    const shape = [16, 16, 16] as const;
    await writeOrganPhantomDataset(`${folder}/two`, { cases: 1, seed: 5, shape, organs: ["spleen", "liver"] });
    const two = await openDataset(`${folder}/two`);
    assert.equal(two.labels.map(({ name }) => name), ["background", "spleen", "liver"]);
    const { label } = organPhantomCase({ seed: new Prng(5).fork(0).uint32(), shape });
    const got = (await loadCase(two, two.cases[0])).label!.data;
    assert.equal(Array.from(got), Array.from(label.data, (v) => [0, 2, 1, 0, 0, 0][v]));
    const ill = organPhantomCase({ seed: new Prng(5).fork(0).uint32(), shape, tumors: true }).label.data;
    assert.ok(count(ill, 6) > 0);
    const tables: [string[], number[]][] = [
      [["liver"], [0, 1, 0, 0, 0, 0, 1]],
      [[ORGAN_PHANTOM_TUMOR], [0, 0, 0, 0, 0, 0, 1]],
      [["liver", ORGAN_PHANTOM_TUMOR], [0, 1, 0, 0, 0, 0, 2]],
    ];
    for (const [k, [organs, table]] of tables.entries()) {
      await writeOrganPhantomDataset(`${folder}/ill${k}`, { cases: 1, seed: 5, shape, organs, tumors: true });
      const written = await openDataset(`${folder}/ill${k}`);
      assert.equal(
        Array.from((await loadCase(written, written.cases[0])).label!.data),
        Array.from(ill, (v) => table[v]),
        organs.join(),
      );
    }
    await writeOrganPhantomDataset(`${folder}/partial`, { cases: 6, seed: 5, shape, partial: true });
    const some = await openDataset(`${folder}/partial`);
    assert.equal(some.cases.map(({ labelsPresent }) => labelsPresent), [undefined, [1], [2], [3], undefined, [4, 5]]);
    for (const item of some.cases) {
      const values = new Set((await loadCase(some, item)).label!.data);
      assert.ok([...values].every((value) => value === 0 || (item.labelsPresent?.includes(value) ?? true)));
    }
    const wrong = (options: object) => writeOrganPhantomDataset(`${folder}/wrong`, { cases: 1, seed: 1, ...options });
    const failed = async (options: object) => wrong(options).then(() => "", (error: Error) => error.message);
    assert.match(await failed({ organs: ["heart"] }), /organs are heart; wanted of liver/);
    assert.match(await failed({ cases: 0 }), /0 cases/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
