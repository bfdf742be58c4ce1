/**
 * Preparing cases: geometry there and back, normalization against its definition, resampling in parts, the foreground.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { CaseGeometry, Plan, Triple, Volume } from "../../../engine/imaging/mod.ts";
import { nonZeroBox, nonZeroMask } from "../../../engine/imaging/volume/crop.ts";
import { fingerprintCase } from "../../../engine/imaging/prepare/fingerprint_case.ts";
import { foregroundOf } from "../../../engine/imaging/prepare/preprocess_case.ts";
import {
  resampleArray,
  resampledShape,
  resamplingOrders,
  separateAxis,
} from "../../../engine/imaging/prepare/resample.ts";
import { resampleLabelArray } from "../../../engine/imaging/prepare/resample_labels.ts";
import { relativeError } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";

const planOf = (changes: Partial<Plan>): Plan =>
  planFor({
    orientation: "RAS",
    channels: [{ name: "MRI", normalization: "none" }],
    labels: ["background", "one", "two"],
    ...changes,
  });

/** A scan whose stored axes point to the posterior, the left and up; 2 x 1 x 3 mm; zero but for a box inside. */
function scan(channels = 1): Volume {
  const shape: Triple = [7, 9, 6];
  const affine = [0, -1, 0, 40, -2, 0, 0, 25, 0, 0, 3, -60, 0, 0, 0, 1];
  const data = new Float32Array(7 * 9 * 6 * channels);
  for (let c = 0; c < channels; c++) {
    for (let z = 1; z < 5; z++) {
      for (let y = 2; y < 9; y++) {
        for (let x = 1; x < 4; x++) {
          const i = ((c * 6 + z) * 9 + y) * 7 + x;
          data[i] = 1 + i;
        }
      }
    }
  }
  return imaging.makeVolume(data, { shape, affine, channels, name: "scan" });
}

/** The way back as CaseGeometry tells it, where nothing was resampled. */
function back(image: Float32Array, geometry: CaseGeometry): Volume {
  const { transpose, orientedShape, cropStart, cropSize, source } = geometry;
  const [X, Y, Z] = [orientedShape[2], orientedShape[1], orientedShape[0]];
  const data = new Float32Array(X * Y * Z);
  for (let i = 0, at = 0; i < cropSize[0]; i++) {
    for (let j = 0; j < cropSize[1]; j++) {
      for (let k = 0; k < cropSize[2]; k++, at++) {
        const prepared = [i + cropStart[0], j + cropStart[1], k + cropStart[2]];
        const zyx = [0, 0, 0];
        transpose.forEach((axis, p) => (zyx[axis] = prepared[p]));
        data[(zyx[0] * Y + zyx[1]) * X + zyx[2]] = image[at];
      }
    }
  }
  const dummy = { ...source, data: new Float32Array(source.shape.reduce((a, b) => a * b)) } as Volume;
  const turned = geometry.orientation === "RAS" ? imaging.reorient(dummy, "RAS") : dummy;
  return imaging.reorient({ ...turned, data }, imaging.axisCodes(source.affine));
}

test("preprocessImage() orients, crops and transposes, and is undone to the voxel", async () => {
  const image = scan();
  for (
    const transpose of [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
    ] as Triple[]
  ) {
    for (const orientation of ["RAS", "stored"] as const) {
      // RAS axes z, y, x have 3, 2 and 1 mm; as stored they are 3, 1 and 2.
      const mm = orientation === "RAS" ? [3, 2, 1] : [3, 1, 2];
      const spacing = transpose.map((k) => mm[k]) as unknown as Triple;
      const got = await imaging.preprocessImage(image, planOf({ transpose, orientation, spacing }));
      const sizes = orientation === "RAS" ? [4, 3, 7] : [4, 7, 3];
      assert.equal(
        [...got.shape],
        transpose.map((k) => sizes[k]),
        `${transpose} ${orientation}`,
      );
      assert.equal([...got.geometry.cropSpacing], [...spacing]);
      const returned = back(got.image, got.geometry);
      assert.equal([...returned.data], [...image.data], `${transpose} ${orientation}`);
      assert.equal([...returned.affine], [...image.affine]);
    }
  }
});

test("preprocessCase() keeps image and label together at the plan's spacing", async () => {
  const image = scan();
  // Label 1 wherever the image is above a value, so that the two can be compared after any change of axes.
  const label = imaging.volumeLike(
    image,
    Uint8Array.from(image.data as Float32Array, (v) => Number(v > 150)),
  );
  const plan = planOf({ transpose: [2, 0, 1], spacing: [1, 3, 2] });
  const same = await imaging.preprocessCase({ id: "a", image, label }, plan);
  assert.equal(
    [...same.label],
    Array.from(same.image, (v) => Number(v > 150)),
  );
  const finer = await imaging.preprocessCase({ id: "a", image, label }, planOf({ spacing: [1.5, 1, 1] }));
  assert.equal([...finer.shape], [8, 6, 7]);
  assert.equal([...finer.geometry.preparedShape], [8, 6, 7]);
  assert.equal([...finer.spacing], [1.5, 1, 1]);
  const volume = (values: Uint8Array, mm3: number): number => values.reduce((a, b) => a + b) * mm3;
  const [before, after] = [volume(label.data as Uint8Array, 6), volume(finer.label, 1.5)];
  assert.ok(Math.abs(after / before - 1) < 0.15, `${before} mm3 became ${after}`);
});

test("preprocessImage() rescales by numpy's quantiles", async () => {
  const data = Float32Array.of(5, 1, 9, 2, 2, 7, 30, 0.5, 4, 3, 8);
  const image = imaging.makeVolume(data, {
    shape: [11, 1, 1],
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  });
  const channels = [{ name: "T1", normalization: "rescale", quantiles: [0.05, 0.95] }] as const;
  const { image: got } = await imaging.preprocessImage(
    image,
    planOf({ orientation: "stored", spacing: [1, 1, 1], channels }),
  );
  // numpy.quantile(data, [0.05, 0.95]) is 0.75, 19.5; values beyond are not clipped.
  assert.ok(relativeError(got, data.map((v) => (v - 0.75) / (19.5 - 0.75))) < 1e-6);
});

test("preprocessImage() normalizes by the definitions", async () => {
  const image = scan(5);
  const plan = planOf({
    orientation: "stored",
    spacing: [3, 1, 2],
    channels: [
      { name: "CT", normalization: "ct", mean: 100, deviation: 50, low: 60, high: 170 },
      { name: "a", normalization: "z-score" },
      { name: "b", normalization: "z-score in mask" },
      { name: "c", normalization: "rescale" },
      { name: "d", normalization: "none" },
    ],
  });
  // A hole, and a corner of the box that is outside.
  const data = image.data as Float32Array;
  for (let c = 0; c < 5; c++) {
    data[((c * 6 + 2) * 9 + 4) * 7 + 2] = 0;
    data[((c * 6 + 1) * 9 + 2) * 7 + 1] = 0;
  }
  const { image: got, shape } = await imaging.preprocessImage(image, plan);
  const n = shape.reduce((a, b) => a * b);
  const raw = await imaging.preprocessImage(image, {
    ...plan,
    channels: plan.channels.map((c) => ({ name: c.name, normalization: "none" })),
  });
  const channel = (values: Float32Array, c: number): number[] => [...values.subarray(c * n, (c + 1) * n)];
  const moments = (values: number[]): [number, number] => {
    const mean = values.reduce((a, b) => a + b) / values.length;
    return [mean, Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length)];
  };
  const close = (c: number, wanted: number[]): void =>
    assert.ok(relativeError(channel(got, c), wanted) < 1e-6, `channel ${c}`);
  close(
    0,
    channel(raw.image, 0).map((v) => (Math.min(170, Math.max(60, v)) - 100) / 50),
  );
  const [mean, deviation] = moments(channel(raw.image, 1));
  close(
    1,
    channel(raw.image, 1).map((v) => (v - mean) / deviation),
  );
  // The corner is the first voxel of the crop; the hole, at (1, 2, 1), belongs to the inside.
  const inside = channel(raw.image, 2).map((_, i) => i !== 0);
  const [inner, spread] = moments(channel(raw.image, 2).filter((_, i) => inside[i]));
  close(
    2,
    channel(raw.image, 2).map((v, i) => (inside[i] ? (v - inner) / spread : 0)),
  );
  const top = Math.max(...channel(raw.image, 3));
  close(
    3,
    channel(raw.image, 3).map((v) => v / top),
  );
  close(4, channel(raw.image, 4));
});

test("preprocessImage() keeps a scan of zeros whole and throws on other channels", async () => {
  const empty = imaging.makeVolume(new Int16Array(24), { shape: [2, 3, 4], affine: imaging.scaling([1, 1, 1]) });
  const got = await imaging.preprocessImage(
    empty,
    planOf({ channels: [{ name: "MRI", normalization: "z-score in mask" }] }),
  );
  assert.equal([...got.shape], [4, 3, 2]);
  assert.ok(got.image.every((v) => v === 0));
  let message = "";
  await imaging.preprocessImage(scan(2), planOf({})).catch((error: Error) => void (message = error.message));
  assert.match(message, /scan: it has 2 channel\(s\), the plan 1: MRI/);
});

test("nonZeroBox() covers all channels, and nonZeroMask() fills holes", () => {
  const shape: Triple = [5, 4, 3];
  const data = new Uint8Array(2 * 60);
  data[(1 * 4 + 1) * 5 + 3] = 1;
  data[60 + (2 * 4 + 2) * 5 + 1] = 1;
  assert.equal(nonZeroBox({ data, shape, channels: 2 }), { start: [1, 1, 1], size: [3, 2, 2] });
  assert.equal(nonZeroBox({ data: new Uint8Array(60), shape, channels: 1 }), { start: [0, 0, 0], size: shape });
  // A shell of 3^3 in 5^3: its middle is a hole, until the shell is opened.
  const cube = (open?: number): Uint8Array => {
    const values = new Uint8Array(125);
    for (let z = 1; z < 4; z++) for (let y = 1; y < 4; y++) for (let x = 1; x < 4; x++) values[(z * 5 + y) * 5 + x] = 1;
    values[62] = 0;
    if (open !== undefined) values[open] = 0;
    return values;
  };
  const count = (open?: number): number =>
    nonZeroMask(cube(open), { channels: 1, shape: [5, 5, 5] }).reduce((a, b) => a + b, 0);
  assert.is(count(), 27);
  // From each of the six sides.
  for (const step of [1, -1, 5, -5, 25, -25]) assert.is(count(62 + step), 25, `${step}`);
});

test("resampleArray() in parts equals resampling whole", async () => {
  const shape: Triple = [11, 14, 13];
  const size: Triple = [7, 21, 9];
  const x = noise(2 * 11 * 14 * 13, 5);
  for (
    const order of [
      [3, 3, 3],
      [0, 3, 3],
      [1, 1, 1],
      [3, 3, 0],
      [3, 1, 3],
    ] as const
  ) {
    const wanted = await vg.resampleVolume(vg.tensor(x, { shape: [2, ...shape] }), { size, order }).data();
    for (const part of [undefined, 600]) {
      const got = await resampleArray(x as Float32Array<ArrayBuffer>, {
        channels: 2,
        shape,
        size,
        order,
        ...(part && { part }),
      });
      // Sums in another order of the axes.
      const error = relativeError(got, wanted);
      assert.ok(error < 2e-6, `${order} in parts of ${part}: ${error}`);
    }
  }
  const odd = { channels: 2, shape, size, order: [3, 1, 1] as const };
  let message = "";
  await resampleArray(x as Float32Array<ArrayBuffer>, odd).catch((error: Error) => void (message = error.message));
  assert.match(message, /orders 3, 1, 1; wanted three alike, or two of 3/);
  const labels = Uint8Array.from(x.subarray(0, 11 * 14 * 13), (v) => Math.round(1 + v));
  for (
    const order of [
      [1, 1, 1],
      [0, 1, 1],
      [0, 0, 0],
    ] as const
  ) {
    const whole = await resampleLabelArray(labels, { shape, size, order });
    const parts = await resampleLabelArray(labels, { shape, size, order, part: 1000 });
    assert.equal([...parts], [...whole], `${order}`);
  }
});

test("separateAxis() separates the coarse axis beyond a ratio of 3, by the present grid, else the target", () => {
  assert.is(separateAxis([5, 1, 1], [1, 1, 1], 3), 0);
  assert.is(separateAxis([1, 1, 1], [1, 1, 3.5], 3), 2);
  assert.is(separateAxis([3, 1, 1], [1, 1, 1], 3), undefined);
  assert.is(separateAxis([0.24, 1.25, 1.25], [1, 1, 1], 3), undefined);
  const plan = planOf({}).resampling;
  assert.equal(resamplingOrders(3, plan, [1, 5, 1], [1, 1, 1]), [3, 0, 3]);
  // Sizes round to the nearest, halves to even, and never to nothing.
  assert.equal(resampledShape([5, 7, 1], [0.5, 1.5, 0.1], [1, 1, 1]), [2, 10, 1]);
});

test("foregroundOf() has all voxels of a small class and a seeded sample of a large one", () => {
  const label = new Uint8Array(1_500_000).fill(2);
  label.fill(0, 0, 300_000);
  for (const i of [5, 17, 299_999]) label[i] = 1;
  label[7] = 9;
  const [one, two, ...others] = foregroundOf(label, 3);
  assert.is(others.length, 0);
  assert.equal([...one.voxels], [5, 17, 299_999]);
  // One in a hundred of 1.2 million.
  assert.is(two.voxels.length, 12_000);
  assert.ok(two.voxels.every((v, k) => label[v] === 2 && (k === 0 || v > two.voxels[k - 1])));
  const mean = two.voxels.reduce((a, b) => a + b, 0) / 12_000;
  // Uniform from 300,000 to 1,500,000: the mean of 12,000 strays by some 3,200.
  assert.ok(Math.abs(mean - 900_000) < 16_000, `${mean}`);
  assert.equal([...foregroundOf(label, 3)[1].voxels], [...two.voxels]);
});

test("fingerprintCase() has sizes after orientation and crop, and values of the foreground alone", () => {
  const image = scan();
  const label = imaging.volumeLike(
    image,
    Uint8Array.from(image.data as Float32Array, (v) => (v > 300 ? 2 : v > 200 ? 1 : 0)),
  );
  const got = fingerprintCase({ id: "a", image, label }, { orientation: "RAS", samples: 500, ignoreLabel: 2 });
  assert.equal([...got.shape], [4, 3, 7]);
  assert.equal([...got.spacing], [3, 2, 1]);
  assert.ok(Math.abs(got.relativeSize - (4 * 3 * 7) / (6 * 9 * 7)) < 1e-12);
  const values = got.values[0];
  const wanted = [...new Set((image.data as Float32Array).filter((v) => v > 200 && v <= 300))].sort((a, b) => a - b);
  // 500 draws with replacement from some 25 values miss none.
  assert.equal(
    [...new Set(values)].sort((a, b) => a - b),
    wanted,
  );
  const none = imaging.volumeLike(image, new Uint8Array(image.data.length));
  assert.is(fingerprintCase({ id: "a", image, label: none }, { orientation: "RAS", samples: 9 }).values[0].length, 0);
});

test.run();
