import { test } from "uvu";
import * as assert from "uvu/assert";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDataset } from "../../../engine/imaging/dataset/dataset.ts";
import { crc32 } from "../../../engine/core/digest.ts";
import { loadCase } from "../../../engine/imaging/dataset/load_case.ts";
import { PHANTOM_LABELS, phantomCase, writePhantomDataset } from "../../../engine/imaging/phantoms/phantom.ts";
import { hashText, Prng, threefry } from "../../../engine/core/prng.ts";
import { axisCodes } from "../../../engine/imaging/volume/affine.ts";

test("threefry() gives the known answers of Random123", () => {
  // Vectors of Threefry-2x32 with 20 rounds, published with Random123 (kat_vectors).
  const cases: [number[], number[], number[]][] = [
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x13198a2e, 0x03707344],
      [0x243f6a88, 0x85a308d3],
      [0xc4923a9c, 0x483df7a0],
    ],
  ];
  for (const [key, count, want] of cases) assert.equal(threefry(key[0], key[1], count[0], count[1]), want);
});

test("Prng.fork() repeats by seed and depends on nothing drawn", () => {
  const a = new Prng(5);
  const drawn = Array.from({ length: 9 }, () => a.uint32());
  const b = new Prng(5);
  const child = b.fork("x").uint32();
  assert.equal(
    Array.from({ length: 9 }, () => b.uint32()),
    drawn,
  );
  assert.is(a.fork("x").uint32(), child);
  assert.not.equal(a.fork(hashText("x")).uint32(), child, "numbers and texts are apart");
  const firsts = new Set([0, 1, 2, 2 ** 32, -1].map((seed) => new Prng(seed).uint32()));
  assert.is(firsts.size, 5);
  assert.throws(() => new Prng(0.5), /no integer/);
});

test("Prng.uniform(), normal() and others have the moments of their distributions", () => {
  const prng = new Prng(11);
  const n = 40000;
  const moments = (draw: () => number) => {
    const values = Array.from({ length: n }, draw);
    const mean = values.reduce((a, b) => a + b) / n;
    const central = (power: number) => values.reduce((a, b) => a + (b - mean) ** power, 0) / n;
    return [mean, central(2), central(4)];
  };
  const near = (got: number, want: number, error: number) =>
    assert.ok(Math.abs(got - want) < 5 * error, `${got}, ${want}`);
  const [mean, variance, fourth] = moments(() => prng.normal());
  near(mean, 0, 1 / Math.sqrt(n));
  near(variance, 1, Math.sqrt(2 / n));
  near(fourth, 3, Math.sqrt(96 / n));
  const uniform = moments(() => prng.uniform());
  near(uniform[0], 0.5, Math.sqrt(1 / 12 / n));
  near(uniform[1], 1 / 12, Math.sqrt(1 / 180 / n));
  const counts = new Array(7).fill(0);
  for (let i = 0; i < n; i++) counts[prng.integer(7)]++;
  for (const count of counts) near(count, n / 7, Math.sqrt((n / 7) * (6 / 7)));
  assert.equal(prng.shuffle([1, 2, 3, 4]).sort(), [1, 2, 3, 4]);
  assert.throws(() => prng.integer(0), /n is 0/);
});

test("phantomCase() gives the same voxels for the same seed, on any host", () => {
  const { image, label } = phantomCase({ seed: 1 });
  assert.equal(
    [image.shape, label.shape],
    [
      [36, 40, 32],
      [36, 40, 32],
    ],
  );
  assert.is(image.channels, 1);
  image.spacing.forEach((v, axis) => assert.ok(Math.abs(v - [1, 1, 1.5][axis]) < 1e-12));
  const bytes = (data: { buffer: ArrayBuffer }) => crc32(new Uint8Array(data.buffer));
  assert.equal([bytes(image.data), bytes(label.data)], [IMAGE_CRC, LABEL_CRC]);
  assert.not.equal(bytes(phantomCase({ seed: 2 }).image.data), IMAGE_CRC);
});
// What the generator gave when its pictures were looked at; a change means new phantoms for every user.
const IMAGE_CRC = 2982317941;
const LABEL_CRC = 398464373;

test("phantomCase() has every class large enough, and adapts to shape and spacing", () => {
  for (
    const options of [
      { seed: 3 },
      { seed: 4, shape: [32, 32, 32] as const, spacing: [1, 1, 1] as const },
      { seed: 5, shape: [24, 17, 20] as const, spacing: [2, 3, 2.5] as const },
    ]
  ) {
    const { label } = phantomCase(options);
    const counts = new Array(4).fill(0);
    for (const value of label.data) counts[value]++;
    assert.is(counts.length, 4);
    for (const count of counts) assert.ok(count > 0.005 * label.data.length, `${counts}`);
  }
  assert.is(axisCodes(phantomCase({ seed: 3 }).label.affine), "LPS");
  assert.throws(() => phantomCase({ seed: 1, shape: [8, 32, 32] }), /wanted at least 16/);
});

test("phantomCase() cannot be segmented by thresholds", () => {
  // Histograms of z-scored intensity by class over four cases: every interval's Dice follows from partial sums.
  const bins = 200;
  const histograms = Array.from({ length: 4 }, () => new Float64Array(bins));
  for (const seed of [1, 2, 3, 4]) {
    const { image, label } = phantomCase({ seed });
    const data = Float64Array.from(image.data);
    const mean = data.reduce((sum, v) => sum + v, 0) / data.length;
    const squares = data.reduce((sum, v) => sum + (v - mean) ** 2, 0);
    const deviation = Math.sqrt(squares / data.length);
    data.forEach((v, i) => {
      const bin = Math.floor(((v - mean) / deviation + 3) * 25);
      histograms[label.data[i]][Math.min(bins - 1, Math.max(0, bin))]++;
    });
  }
  for (const value of [1, 2, 3]) {
    const total = histograms[value].reduce((a, b) => a + b);
    let best = 0;
    for (let low = 0; low < bins; low++) {
      let [inside, all] = [0, 0];
      for (let high = low; high < bins; high++) {
        inside += histograms[value][high];
        for (const histogram of histograms) all += histogram[high];
        best = Math.max(best, (2 * inside) / (total + all));
      }
    }
    assert.ok(best > 0.2 && best < 0.75, `${PHANTOM_LABELS[value]}: an interval of intensities scores Dice ${best}`);
  }
});

test("writePhantomDataset() makes a folder that openDataset() and loadCase() accept", async () => {
  const folder = mkdtempSync(join(tmpdir(), "voxgrad-phantom-"));
  try {
    await writePhantomDataset(folder, { cases: 3, seed: 9, shape: [20, 18, 16] });
    const dataset = await openDataset(folder);
    assert.equal(
      dataset.labels.map((l) => l.name),
      [...PHANTOM_LABELS],
    );
    assert.equal(
      dataset.cases.map((c) => c.id),
      ["phantom_001", "phantom_002", "phantom_003"],
    );
    const loaded = await loadCase(dataset, dataset.cases[2]);
    const made = phantomCase({ seed: new Prng(9).fork(2).uint32(), shape: [20, 18, 16] });
    assert.equal([loaded.image.data, loaded.label!.data], [made.image.data, made.label.data]);
    const first = readFileSync(dataset.cases[0].images[0]);
    await writePhantomDataset(folder, { cases: 1, seed: 9, shape: [20, 18, 16] });
    assert.equal(readFileSync(dataset.cases[0].images[0]), first, "the same bytes again");
    assert.ok(existsSync(join(folder, "labelsTr", "phantom_003.nii.gz")));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
