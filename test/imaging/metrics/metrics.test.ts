import { test } from "uvu";
import * as assert from "uvu/assert";
import { dice, overlapMetrics, precision, sensitivity, summarize } from "../../../engine/imaging/metrics/metrics.ts";
import { Prng } from "../../../engine/core/prng.ts";

const near = (got: number, want: number) => assert.ok(Math.abs(got - want) < 1e-12, `${got}, wanted ${want}`);

test("dice(), sensitivity(), precision() of a case done by hand", () => {
  const prediction = [1, 1, 1, 0, 0, 2, 2, 0];
  const reference = [1, 1, 0, 1, 0, 2, 0, 2];
  near(dice(prediction, reference, { label: 1 }), 4 / 6);
  near(sensitivity(prediction, reference, { label: 2 }), 1 / 2);
  near(precision(prediction, reference, { label: 1 }), 2 / 3);
  near(dice(prediction, reference), (2 * 3) / (5 + 5));
});

test("overlapMetrics() agrees with sets of voxels", () => {
  for (let round = 0; round < 30; round++) {
    const prng = new Prng(round);
    const draw = () => Uint8Array.from({ length: 57 }, () => prng.integer(4));
    const [prediction, reference] = [draw(), draw()];
    const all = overlapMetrics(prediction, reference, { classes: 4 });
    for (const label of [1, 2, 3]) {
      const of = (labels: Uint8Array) => new Set([...labels.keys()].filter((i) => labels[i] === label));
      const [p, r] = [of(prediction), of(reference)];
      const both = [...p].filter((i) => r.has(i)).length;
      near(dice(prediction, reference, { label }), (2 * both) / (p.size + r.size));
      near(sensitivity(prediction, reference, { label }), both / r.size);
      near(precision(prediction, reference, { label }), both / p.size);
      const { truePositive, falsePositive, falseNegative, ...rest } = all[label - 1];
      assert.equal([truePositive, falsePositive, falseNegative], [both, p.size - both, r.size - both]);
      assert.equal(rest, {
        label,
        dice: dice(prediction, reference, { label }),
        sensitivity: sensitivity(prediction, reference, { label }),
        precision: precision(prediction, reference, { label }),
      });
    }
  }
});

test("dice(), sensitivity() and precision() are NaN where undefined, and 0 where something is missed", () => {
  const [none, some] = [
    [0, 0, 0],
    [0, 1, 0],
  ];
  assert.ok(Number.isNaN(dice(none, none)));
  assert.ok(Number.isNaN(sensitivity(some, none)));
  assert.ok(Number.isNaN(precision(none, some)));
  assert.equal([dice(none, some), dice(some, none), sensitivity(none, some), precision(some, none)], [0, 0, 0, 0]);
  const [row] = overlapMetrics(none, none, { classes: 2 });
  assert.ok(Number.isNaN(row.dice) && Number.isNaN(row.sensitivity) && Number.isNaN(row.precision));
});

test("overlapMetrics() leaves ignored reference voxels out", () => {
  const rows = overlapMetrics([1, 1, 0, 2], [1, 3, 3, 2], { classes: 3, ignore: 3 });
  assert.equal(
    rows.map((r) => r.dice),
    [1, 1],
  );
});

test("dice(), overlapMetrics() and others throw on other grids and unknown labels", () => {
  for (const measure of [dice, sensitivity, precision]) {
    assert.throws(() => measure([1], [1, 0]), /prediction has 1 voxels, reference 2/);
  }
  assert.throws(() => overlapMetrics([1], [1, 0], { classes: 2 }), /overlapMetrics: prediction has 1/);
  assert.throws(() => overlapMetrics([2], [1], { classes: 2 }), /voxel 0 is 2 against 1; wanted labels from 0 to 1/);
});

test("summarize() counts undefined values and leaves them out of the mean", () => {
  const s = summarize([0.9, NaN, 0.5, NaN, 0.7]);
  near(s.mean, 0.7);
  near(s.deviation, 0.2);
  assert.equal([s.min, s.max, s.defined, s.undefined], [0.5, 0.9, 3, 2]);
  const nothing = summarize([NaN]);
  assert.ok(Number.isNaN(nothing.mean) && Number.isNaN(nothing.min) && nothing.undefined === 1);
  assert.ok(Number.isNaN(summarize([1]).deviation));
});

test.run();
