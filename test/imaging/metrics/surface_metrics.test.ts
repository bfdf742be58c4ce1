// deno-lint-ignore-file no-explicit-any
/** Surface metrics against golden numbers (SciPy), and against all pairs of surface voxels. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as metrics from "../../../engine/imaging/metrics/metrics.ts";
import { Prng } from "../../../engine/core/prng.ts";
import { goldenJson, goldenTensors } from "../../helpers/golden.ts";
import { nearNumber } from "../../helpers/compare.ts";
import { refuses } from "../../helpers/refuse.ts";

test("dice(), hausdorff() and others agree with the golden metrics", () => {
  const golden = goldenTensors("geometry");
  const cases = goldenJson("geometry").cases.filter((c: { op: string }) => c.op === "metrics");
  assert.ok(cases.length >= 3);
  for (const c of cases) {
    const { data: prediction, shape } = golden(c.prediction);
    const { data: reference } = golden(c.reference);
    const options = { shape, spacing: c.spacing };
    nearNumber(metrics.dice(prediction, reference), c.dice, 1e-12, "dice");
    nearNumber(metrics.sensitivity(prediction, reference), c.sensitivity, 1e-12, "sensitivity");
    nearNumber(metrics.precision(prediction, reference), c.precision, 1e-12, "precision");
    nearNumber(metrics.iou(prediction, reference), c.dice / (2 - c.dice), 1e-12, "iou");
    nearNumber(metrics.hausdorff(prediction, reference, options), c.hausdorff, 1e-12, "hausdorff");
    nearNumber(metrics.hausdorff95(prediction, reference, options), c.hausdorff95_concatenated, 1e-12, "hausdorff95");
    const directed = metrics.hausdorff95(prediction, reference, { ...options, definition: "max of directed" });
    nearNumber(directed, c.hausdorff95_max_of_directed, 1e-12, "hausdorff95, max of directed");
    const average = metrics.averageSymmetricSurfaceDistance(prediction, reference, options);
    nearNumber(average, c.averageSymmetricSurfaceDistance, 1e-12, "assd");
  }
});

/** Every surface voxel of one against every one of the other. */
function byPairs(a: Uint8Array, b: Uint8Array, options: { shape: number[]; spacing: number[]; label: number }) {
  const { shape, spacing, label } = options;
  const places = Array.from(
    a,
    (_, at) => shape.map((n, axis) => Math.floor(at / shape.slice(axis + 1).reduce((p, q) => p * q, 1)) % n),
  );
  const at = (place: number[]) => place.reduce((sum, p, axis) => sum * shape[axis] + p, 0);
  const surface = (mask: Uint8Array) =>
    places.filter((place, k) => {
      if (mask[k] !== label) return false;
      return shape.some((n, axis) =>
        [-1, 1].some((step) => {
          const next = place.map((p, other) => (other === axis ? p + step : p));
          return next[axis] < 0 || next[axis] >= n || mask[at(next)] !== label;
        })
      );
    });
  const [p, r] = [surface(a), surface(b)];
  const distance = (u: number[], v: number[]) =>
    Math.sqrt(u.reduce((sum, q, axis) => sum + ((q - v[axis]) * spacing[axis]) ** 2, 0));
  const directed = (from: number[][], to: number[][]) =>
    from.map((u) => Math.min(...to.map((v) => distance(u, v)))).sort((x, y) => x - y);
  return { a: directed(p, r), b: directed(r, p) };
}

test("hausdorff(), surfaceDice() and others agree with all pairs for random label maps, in 1 to 3 dimensions", () => {
  const random = new Prng(11);
  const grids: [number[], number[]][] = [
    [
      [7, 9, 11],
      [2.5, 0.8, 0.7],
    ],
    [
      [1, 13, 21],
      [3, 1, 1],
    ],
    [
      [19, 17],
      [0.3, 2],
    ],
    [[40], [1.5]],
    [
      [5, 3, 37],
      [1, 1, 1e-3],
    ],
  ];
  for (const [shape, spacing] of grids) {
    for (const share of [0.02, 0.3, 0.9]) {
      const draw = () =>
        Uint8Array.from({ length: shape.reduce((p, q) => p * q) }, () => (random.uniform() < share ? 2 : 1));
      const [prediction, reference] = [draw(), draw()];
      const options = { shape, spacing, label: 2 };
      const { a, b } = byPairs(prediction, reference, options);
      if (a.length === 0 || b.length === 0) continue;
      const what = `[${shape}] ${share}`;
      const got = metrics.surfaceMeasures(prediction, reference, { ...options, tolerance: 1.5 });
      nearNumber(got.hausdorff, Math.max(...a, ...b), 1e-12, what);
      const mean = (list: number[]) => list.reduce((sum, v) => sum + v, 0) / list.length;
      nearNumber(got.averageSymmetricSurfaceDistance, mean([...a, ...b]), 1e-12, what);
      nearNumber(
        got.surfaceDice,
        [...a, ...b].filter((v) => v <= 1.5 + 1e-9).length / (a.length + b.length),
        1e-12,
        what,
      );
      nearNumber(metrics.surfaceDice(prediction, prediction, options), 1, 1e-12, what);
      nearNumber(metrics.hausdorff(reference, prediction, options), got.hausdorff, 1e-12, what);
    }
  }
});

test("hausdorff() and others take far masks, thin lines and a voxel in each corner", () => {
  const shape = [3, 40, 50];
  const [a, b] = [new Uint8Array(6000), new Uint8Array(6000)];
  a[0] = b[5999] = 1;
  nearNumber(metrics.hausdorff(a, b, { shape, spacing: [5, 1, 2] }), Math.hypot(10, 39, 98), 1e-12, "corners");
  nearNumber(metrics.averageSymmetricSurfaceDistance(a, b, { shape }), Math.hypot(2, 39, 49), 1e-12, "corners");
  assert.is(metrics.volume(a, { spacing: [5, 1, 2] }), 10);
  assert.is(metrics.volume(a, { spacing: [5, 10, 20], unit: "ml", label: 1 }), 1);
});

test("hausdorff() and others of empty masks are NaN, surfaceDice() of one is 0", () => {
  const [none, some] = [new Uint8Array(27), new Uint8Array(27).fill(1)];
  const shape = [3, 3, 3];
  for (
    const [p, r] of [
      [none, some],
      [some, none],
      [none, none],
    ]
  ) {
    const got = metrics.surfaceMeasures(p, r, { shape });
    for (
      const key of [
        "hausdorff",
        "hausdorff95",
        "hausdorff95MaxOfDirected",
        "averageSymmetricSurfaceDistance",
      ] as const
    ) {
      assert.ok(Number.isNaN(got[key]), `${key} ${got[key]}`);
    }
    assert.ok(Object.is(got.surfaceDice, p === r ? NaN : 0));
    assert.ok(Object.is(metrics.iou(p, r), p === r ? NaN : 0));
  }
});

test("hausdorff() throws on options that do not fit", () => {
  const mask = new Uint8Array(8).fill(1);
  const refused = (options: any, pattern: RegExp) => refuses(() => metrics.hausdorff(mask, mask, options), pattern);
  refused({}, /hausdorff: shape is a list/);
  refused({ shape: [2, 2] }, /shape \[2, 2\] has 4 voxels, prediction 8/);
  refused({ shape: [2, 2, 2], spacing: [1, 1] }, /spacing is one number above 0/);
  refused({ shape: [2, 2, 2], spacing: [1, 0, 1] }, /spacing is one number above 0/);
  assert.throws(
    () => metrics.hausdorff95(mask, mask, { shape: [8], definition: "medpy" as any }),
    /definition is "concatenated"/,
  );
});

test.run();
