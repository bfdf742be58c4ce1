import { test } from "uvu";
import * as assert from "uvu/assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDataset } from "../../../engine/imaging/dataset/dataset.ts";
import { crc32 } from "../../../engine/core/digest.ts";
import { loadCase } from "../../../engine/imaging/dataset/load_case.ts";
import {
  NESTED_PHANTOM_REGIONS,
  nestedPhantomCase,
  writeNestedPhantomDataset,
} from "../../../engine/imaging/phantoms/nested_phantom.ts";
import { Prng } from "../../../engine/core/prng.ts";

const CASES = Array.from({ length: 24 }, (_, n) => nestedPhantomCase({ seed: 100 + n }));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const inRegion = (data: ArrayLike<number>, values: readonly number[]): Uint8Array =>
  Uint8Array.from(data, (value) => Number(values.includes(value)));

test("nestedPhantomCase() gives the same voxels for a seed on any host, and keeps the tumor in another contrast", () => {
  const { image, label } = nestedPhantomCase({ seed: 1 });
  assert.equal([image.shape, image.channels, label.channels], [[48, 48, 16], 4, 1]);
  image.spacing.forEach((v, axis) => assert.ok(Math.abs(v - [1, 1, 3][axis]) < 1e-12));
  const bytes = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  assert.equal([crc32(bytes(image.data)), crc32(bytes(label.data))], CRC);
  const faint = nestedPhantomCase({ seed: 1, contrast: 0.5 });
  assert.equal(faint.label.data, label.data);
  assert.not.equal(faint.image.data, image.data);
  assert.throws(() => nestedPhantomCase({ seed: 1, shape: [48, 48, 7] }), /48 x 48 x 7; wanted at least 24 x 24 x 8/);
});
// What the generator gave when its pictures were looked at; a change means new phantoms for every user.
const CRC = [3238369113, 2068288602];

test("nestedPhantomCase() has all parts, each smaller than the one around it, at other shapes too", () => {
  const other = [[24, 24, 8], [25, 41, 11], [64, 40, 24]] as const;
  const made = [...CASES, ...other.map((shape, k) => nestedPhantomCase({ seed: k, shape }))];
  for (const { label: { data, shape, name } } of made) {
    const sizes = NESTED_PHANTOM_REGIONS.map(({ values }) => mean([...inRegion(data, values)]));
    const [whole, core, enhancing] = sizes as [number, number, number];
    assert.ok(whole < 0.2 && core < 0.75 * whole && enhancing < 0.75 * core, `${name}: ${sizes}`);
    assert.ok(enhancing * data.length >= 4, `${name}, ${shape}: ${enhancing * data.length} voxels of ET`);
  }
});

test("nestedPhantomCase() changes from slice to slice, and no channel separates a part by a threshold", () => {
  const change: number[] = [];
  const best = NESTED_PHANTOM_REGIONS.map(() => 0);
  for (const { image, label } of CASES) {
    const size = 48 * 48;
    const whole = inRegion(label.data, [1, 2, 3]);
    for (let k = 1; k < 16; k++) {
      const [below, here] = [whole.subarray((k - 1) * size, k * size), whole.subarray(k * size, (k + 1) * size)];
      const either = mean([...here]) + mean([...below]);
      if (either > 0) change.push(mean([...here].map((v, i) => Math.abs(v - below[i]))) / either);
    }
    // The best Dice of all thresholds, of a case by itself.
    NESTED_PHANTOM_REGIONS.forEach(({ values }, r) => {
      const region = inRegion(label.data, values);
      const total = region.reduce((a, b) => a + b, 0);
      const dice = [0, 1, 2, 3].map((c) => {
        const channel = Array.from(image.data.subarray(c * region.length, (c + 1) * region.length));
        const order = channel.map((_, i) => i).sort((a, b) => channel[b] - channel[a]);
        let [both, most] = [0, 0];
        order.forEach((i, n) => {
          both += region[i];
          most = Math.max(most, (2 * both) / (n + 1 + total));
        });
        return most;
      });
      best[r] += Math.max(...dice) / CASES.length;
    });
  }
  // 1 - Dice of neighboring slices: 0.41 here, 0.33 for parts that end as these do and neither shift nor grow.
  assert.ok(mean(change) > 0.38, `${mean(change)}`);
  assert.ok(best.every((dice) => dice < 0.5), `${best}`);
});

test("writeNestedPhantomDataset() makes a folder with four channels and regions, or with labels", async () => {
  const folder = mkdtempSync(join(tmpdir(), "voxgrad-nested-"));
  try {
    const options = { seed: 9, shape: [24, 25, 9], spacing: [1, 1, 2] } as const;
    await writeNestedPhantomDataset(`${folder}/regions`, { ...options, cases: 2 });
    const dataset = await openDataset(`${folder}/regions`);
    assert.equal(dataset.channels, ["T1", "T1ce", "T2", "FLAIR"]);
    assert.equal(dataset.regions, NESTED_PHANTOM_REGIONS.map((region) => ({ ...region, values: [...region.values] })));
    assert.is(dataset.labels.length, 4);
    const made = nestedPhantomCase({ ...options, seed: new Prng(9).fork(1).uint32() });
    const loaded = await loadCase(dataset, dataset.cases[1]);
    assert.equal([loaded.image.data, loaded.label!.data], [made.image.data, made.label.data]);
    await writeNestedPhantomDataset(`${folder}/labels`, { ...options, cases: 1, regions: false });
    const plain = await openDataset(`${folder}/labels`);
    assert.is(plain.regions, undefined);
    assert.equal(plain.labels.map(({ name }) => name), ["background", "core", "oedema", "enhancing"]);
    assert.equal(
      (await loadCase(plain, plain.cases[0])).label!.data,
      (await loadCase(dataset, dataset.cases[0])).label!.data,
    );
    const failed = writeNestedPhantomDataset(`${folder}/none`, { ...options, cases: 0 });
    assert.match(await failed.then(String, (error: Error) => error.message), /0 cases; wanted 1 or more/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
