import { test } from "uvu";
import * as assert from "uvu/assert";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CONTEXT_PHANTOM_LABELS,
  contextPhantomCase,
  writeContextPhantomDataset,
} from "../../../engine/imaging/phantoms/context_phantom.ts";
import type { ContextPhantomCase } from "../../../engine/imaging/phantoms/context_phantom.ts";
import { openDataset } from "../../../engine/imaging/dataset/dataset.ts";
import { crc32 } from "../../../engine/core/digest.ts";
import { loadCase } from "../../../engine/imaging/dataset/load_case.ts";
import { Prng } from "../../../engine/core/prng.ts";
import { readVolume } from "../../../engine/imaging/formats/read_volume.ts";

const KINDS = ["image", "label", "organ", "distractors"] as const;
const CASES = Array.from({ length: 40 }, (_, n) => contextPhantomCase({ seed: 100 + n }));
const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);

/**
 * Volume in voxels of every blob of a mask, blobs joined by faces, by flood fill; and whether one touches the border.
 */
function blobSizes({ data, shape: [X, Y, Z] }: ContextPhantomCase["label"]): { sizes: number[]; atBorder: boolean } {
  const seen = new Uint8Array(data.length);
  const sizes: number[] = [];
  let atBorder = false;
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || seen[start]) continue;
    const stack = [start];
    seen[start] = 1;
    let size = 0;
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      size++;
      const place = [at % X, Math.floor(at / X) % Y, Math.floor(at / (X * Y))];
      for (
        const [axis, step, length] of [
          [0, 1, X],
          [1, X, Y],
          [2, X * Y, Z],
        ]
      ) {
        for (const side of [-1, 1]) {
          const next = at + side * step;
          if (place[axis] + side < 0 || place[axis] + side >= length) atBorder = true;
          else if (data[next] && !seen[next]) {
            seen[next] = 1;
            stack.push(next);
          }
        }
      }
    }
    sizes.push(size);
  }
  return { sizes, atBorder };
}

test("contextPhantomCase() gives the same voxels for the same seed, on any host", () => {
  const bytes = (made: ContextPhantomCase) => KINDS.map((kind) => crc32(new Uint8Array(made[kind].data.buffer)));
  const made = contextPhantomCase({ seed: 1 });
  assert.equal(bytes(made), CRC);
  for (const kind of KINDS) {
    assert.equal(made[kind].shape, [32, 32, 32]);
    made[kind].spacing.forEach((v) => assert.ok(Math.abs(v - 1) < 1e-12));
    assert.equal(made[kind].affine, made.image.affine);
  }
  bytes(contextPhantomCase({ seed: 2 })).forEach((value, n) => assert.not.equal(value, CRC[n]));
});
// What the generator gave when its pictures were looked at; a change means new phantoms for every user.
const CRC = [169852545, 887366473, 2188720288, 3121055843];

test("contextPhantomCase() keeps lesions in the organ and distractors out of it", () => {
  const lesions = new Set<number>();
  for (const { image, label, organ, distractors } of CASES) {
    const what = image.name;
    assert.ok(
      [label, organ, distractors].every(({ data }) => data.every((v) => v <= 1)),
      `${what}: masks`,
    );
    assert.ok(
      label.data.every((v, at) => v <= organ.data[at]),
      `${what}: a lesion leaves the organ`,
    );
    assert.ok(
      distractors.data.every((v, at) => v + organ.data[at] <= 1),
      `${what}: a distractor enters the organ`,
    );
    const [inside, outside] = [blobSizes(label), blobSizes(distractors)];
    assert.ok(inside.sizes.length >= 1 && inside.sizes.length <= 3, `${what}: ${inside.sizes} lesions`);
    assert.ok(outside.sizes.length >= 1 && outside.sizes.length <= 6, `${what}: ${outside.sizes} distractors`);
    assert.ok(Math.min(...inside.sizes, ...outside.sizes) >= 8, `${what}: ${inside.sizes}; ${outside.sizes}`);
    assert.not.ok(inside.atBorder || outside.atBorder, `${what}: a blob is cut by the border`);
    assert.is(blobSizes(organ).sizes.length, 1, `${what}: the organ is whole`);
    lesions.add(inside.sizes.length);
  }
  assert.is(lesions.size, 3, "one, two and three lesions all happen");
});

test("contextPhantomCase() gives lesions and distractors the same sizes", () => {
  const [inside, outside] = [
    CASES.flatMap((c) => blobSizes(c.label).sizes),
    CASES.flatMap((c) => blobSizes(c.distractors).sizes),
  ];
  const mean = (values: number[]) => sum(values) / values.length;
  const variance = (values: number[]) => mean(values.map((v) => (v - mean(values)) ** 2));
  // Two independent samples of blobs: Welch's t stays below 3 for all but 3 in 1000 seeds.
  const t = (mean(inside) - mean(outside)) /
    Math.sqrt(variance(inside) / inside.length + variance(outside) / outside.length);
  assert.ok(Math.abs(t) < 3, `means ${mean(inside)} and ${mean(outside)}, t ${t}`);
});

// Histograms of z-scored intensity over all cases, so that every band's counts are partial sums.
const BINS = 160;
function histograms() {
  const [lesion, distractor, all] = [0, 1, 2].map(() => new Float64Array(BINS));
  const moments = { lesion: [0, 0, 0], distractor: [0, 0, 0] };
  for (const { image, label, distractors } of CASES) {
    const data = Float64Array.from(image.data);
    const mean = sum(data) / data.length;
    const deviation = Math.sqrt(sum(data.map((v) => (v - mean) ** 2)) / data.length);
    data.forEach((v, at) => {
      const value = (v - mean) / deviation;
      const bin = Math.min(BINS - 1, Math.max(0, Math.floor((value + 2) * 32)));
      all[bin]++;
      for (
        const [mask, histogram, into] of [
          [label, lesion, moments.lesion],
          [distractors, distractor, moments.distractor],
        ] as const
      ) {
        if (!mask.data[at]) continue;
        histogram[bin]++;
        into[0]++;
        into[1] += value;
        into[2] += value * value;
      }
    });
  }
  return { lesion, distractor, all, moments };
}

test("contextPhantomCase(): no intensity tells lesions from distractors, nor from the body", () => {
  const { lesion, distractor, all, moments } = histograms();
  const [a, b] = [moments.lesion, moments.distractor];
  const variance = ([n, s, q]: number[]) => q / n - (s / n) ** 2;
  const pooled = Math.sqrt((a[0] * variance(a) + b[0] * variance(b)) / (a[0] + b[0]));
  const gap = Math.abs(a[1] / a[0] - b[1] / b[0]) / pooled;
  assert.ok(gap < 0.2, `the means are ${gap} deviations apart`);

  let [accuracy, dice] = [0, 0];
  for (let low = 0; low < BINS; low++) {
    let [l, d, n] = [0, 0, 0];
    for (let high = low; high < BINS; high++) {
      l += lesion[high];
      d += distractor[high];
      n += all[high];
      // Balanced accuracy of calling the band lesion, or calling it distractor.
      accuracy = Math.max(accuracy, 0.5 + Math.abs(l / a[0] - d / b[0]) / 2);
      dice = Math.max(dice, (2 * l) / (n + a[0]));
    }
  }
  // About 80 lesions and 120 distractors, each of a value of its own: 0.51 here, and chance alone moves it by 0.02.
  assert.ok(accuracy < 0.55, `a band tells lesions from distractors in ${accuracy} of voxels`);
  assert.ok(dice < 0.3, `a band of intensities scores Dice ${dice}`);
  const blobs = (2 * a[0]) / (2 * a[0] + b[0]);
  assert.ok(blobs < 0.65, `finding every blob, of either kind, scores Dice ${blobs}`);
});

test("contextPhantomCase() adapts to shape and spacing, and names a shape that is too small", () => {
  for (
    const [seed, shape, spacing] of [
      [3, [24, 24, 24], [1, 1, 1]],
      [4, [25, 31, 28], [1, 0.8, 2.5]],
      [5, [48, 32, 24], [1, 1, 3]],
    ] as const
  ) {
    const made = contextPhantomCase({ seed, shape, spacing });
    const count = shape[0] * shape[1] * shape[2];
    for (const kind of KINDS) {
      assert.equal(made[kind].shape, shape);
      assert.is(made[kind].data.length, count);
      made[kind].spacing.forEach((v, axis) => assert.ok(Math.abs(v - spacing[axis]) < 1e-12));
    }
    // The organ's volume is that of its ellipsoid, 4/3 pi of the radii over 2 cubed, but for the bend.
    const part = sum(made.organ.data) / count;
    assert.ok(part > 0.03 && part < 0.08, `${shape}: the organ takes ${part}`);
    const blobs = [...blobSizes(made.label).sizes, ...blobSizes(made.distractors).sizes];
    for (const size of blobs) {
      assert.ok(size / count > 0.0003 && size / count < 0.003, `${shape}: a blob takes ${size}`);
    }
  }
  assert.throws(() => contextPhantomCase({ seed: 1, shape: [32, 23, 32] }), /32 x 23 x 32; wanted at least 24 voxels/);
  assert.throws(() => contextPhantomCase({ seed: 1, shape: [32, 32.5, 32] }), /wanted at least 24/);
});

test("writeContextPhantomDataset() makes a folder that openDataset() and loadCase() accept", async () => {
  const folder = mkdtempSync(join(tmpdir(), "voxgrad-context-"));
  try {
    const options = { seed: 9, shape: [24, 25, 26], spacing: [1, 1, 2] } as const;
    await writeContextPhantomDataset(folder, { ...options, cases: 2, testCases: 1 });
    const dataset = await openDataset(folder);
    assert.equal(
      dataset.labels.map((l) => l.name),
      [...CONTEXT_PHANTOM_LABELS],
    );
    assert.equal(
      dataset.cases.map((c) => c.id),
      ["context_001", "context_002"],
    );
    assert.equal(
      dataset.testCases.map((c) => c.id),
      ["context_test_001"],
    );
    const made = contextPhantomCase({ ...options, seed: new Prng(9).fork(1).uint32() });
    const loaded = await loadCase(dataset, dataset.cases[1]);
    const organ = await readVolume(join(folder, "organsTr", "context_002.nii.gz"));
    assert.equal(
      [loaded.image.data, loaded.label!.data, organ.data],
      [made.image.data, made.label.data, made.organ.data],
    );
    for (const kind of ["images", "labels", "organs"]) {
      assert.equal(readdirSync(join(folder, `${kind}Tr`)).sort(), ["context_001.nii.gz", "context_002.nii.gz"]);
      assert.equal(readdirSync(join(folder, `${kind}Ts`)), ["context_test_001.nii.gz"]);
    }
    const files = [dataset.cases[0].images[0], dataset.testCases[0].images[0]];
    const before = files.map((file) => readFileSync(file));
    await writeContextPhantomDataset(folder, { ...options, cases: 1, testCases: 1 });
    assert.equal(
      files.map((file) => readFileSync(file)),
      before,
      "the same bytes again, whatever the number of cases",
    );

    const none = join(folder, "none");
    for (
      const [cases, testCases] of [
        [0, 0],
        [1.5, 0],
        [1, -1],
      ]
    ) {
      try {
        await writeContextPhantomDataset(none, { ...options, cases, testCases });
        assert.unreachable();
      } catch (error) {
        assert.match((error as Error).message, /wanted 1 or more, and 0 or more/);
      }
    }
    assert.not.ok(existsSync(none));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
