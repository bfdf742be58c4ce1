/** Mean and reciprocal deviation of rows, as norms take them, against float64: odd lengths, large means, outliers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { moments } from "../../engine/ops/reduce/moments.ts";
import { noise } from "../helpers/noise.ts";

const eps = 1e-5;
const cases: { name: string; rows: number; length: number; value: (v: number, k: number) => number }[] = [
  ...[1, 2, 255, 256, 257, 2048, 2049, 4097, 33_333].map((length) => ({
    name: `rows of ${length}`,
    rows: 3,
    length,
    value: (v: number) => v,
  })),
  { name: "one long row in parts", rows: 1, length: 123_457, value: (v) => v + 3 },
  { name: "many rows", rows: 1000, length: 7, value: (v) => v },
  { name: "a large mean", rows: 2, length: 9000, value: (v) => 10_000 + v },
  { name: "a large mean, many rows", rows: 300, length: 2100, value: (v) => 10_000 + v },
  { name: "an outlier first", rows: 2, length: 9000, value: (v, k) => (k % 9000 === 0 ? 1e4 : v) },
  { name: "a constant", rows: 2, length: 5000, value: () => 7.25 },
  { name: "small numbers", rows: 2, length: 700, value: (v) => 1e-15 * v },
];

for (const { name, rows, length, value } of cases) {
  test(`moments() agrees with float64: ${name}`, async () => {
    const x = noise(rows * length, 5).map(value);
    const got = await moments(vg.tensor(x, { shape: [rows, length] }), { eps }).data();
    for (let r = 0; r < rows; r++) {
      const row = Float64Array.from(x.subarray(r * length, (r + 1) * length));
      const mean = row.reduce((a, b) => a + b, 0) / length;
      const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / length;
      const rstd = 1 / Math.sqrt(variance + eps);
      const spread = Math.sqrt(variance) + Math.abs(mean);
      assert.ok(Math.abs(got[2 * r] - mean) <= 3e-7 * spread, `mean ${got[2 * r]} for ${mean}`);
      assert.ok(Math.abs(got[2 * r + 1] / rstd - 1) <= 2e-6, `1 / deviation ${got[2 * r + 1]} for ${rstd}`);
    }
  });
}

test("moments() leaves no finite result for NaN and infinity", async () => {
  for (const bad of [NaN, Infinity]) {
    const x = noise(3000, 2);
    x[1234] = bad;
    const [mean, rstd] = await moments(vg.tensor(x, { shape: [1, 3000] }), { eps }).data();
    assert.not(Number.isFinite(mean * rstd) && rstd > 0, `${bad} gives ${mean} and ${rstd}`);
  }
});

test.after(vg.closeDevice);
test.run();
