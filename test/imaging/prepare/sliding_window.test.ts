import { test } from "uvu";
import * as assert from "uvu/assert";
import { Prng } from "../../../engine/core/prng.ts";
import {
  argmaxLabels,
  gaussianImportance,
  slidingWindow,
  slidingWindowCost,
  slidingWindowSlabs,
  tileStarts,
} from "../../../engine/imaging/prepare/sliding_window.ts";

const random = (seed: number, length: number) => {
  const prng = new Prng(seed);
  return Float32Array.from({ length }, () => prng.normal());
};
type Shape = [number, number, number, number];

test("tileStarts() spreads as few patches as the step allows, as nnU-Net's examples", () => {
  assert.equal(tileStarts(110, 64, 0.5), [0, 23, 46]);
  assert.equal(tileStarts(64, 64, 0.5), [0]);
  assert.equal(tileStarts(65, 64, 0.5), [0, 1]);
  assert.equal(tileStarts(10, 16, 0.5), [0]);
  assert.equal(tileStarts(10, 4, 0.5), [0, 2, 4, 6]);
  assert.equal(tileStarts(10, 4, 1), [0, 3, 6]);
  assert.equal(tileStarts(6, 3, 0.9), [0, 2, 3], "1.5 rounds to even");
  for (
    const [size, patch, step] of [
      [101, 32, 0.5],
      [77, 20, 0.25],
      [33, 32, 1],
      [500, 7, 0.9],
    ]
  ) {
    const starts = tileStarts(size, patch, step);
    assert.is(starts[0], 0);
    assert.is(starts.at(-1), size - patch);
    starts.slice(1).forEach((s, i) => assert.ok(s > starts[i] && s - starts[i] <= Math.ceil(patch * step)));
  }
  for (const step of [0, -1, 1.5, NaN]) assert.throws(() => tileStarts(9, 3, step), /step is/);
});

test("gaussianImportance() is SciPy's filtered delta over its peak", () => {
  // scipy.ndimage.gaussian_filter of a delta at [n // 2 ...], sigma n / 8, mode "constant", divided by its maximum.
  const got = gaussianImportance([4, 5, 6]);
  const want: [number[], number][] = SCIPY;
  for (const [[z, y, x], value] of want) {
    assert.ok(
      Math.abs(got[(z * 5 + y) * 6 + x] - value) < 1e-6 * Math.max(value, 1e-3),
      `${[z, y, x]}: ${got[(z * 5 + y) * 6 + x]}`,
    );
  }
  assert.is(Math.max(...got), 1);
  const wide = gaussianImportance([2, 2, 300]);
  assert.ok(Math.min(...wide) > 0);
  // A patch so thin that float32 underflows at its edge: zeros become the smallest other weight.
  const thin = gaussianImportance([1, 1, 1]);
  assert.equal([...thin], [1]);
});
const SCIPY: [number[], number][] = [
  [[2, 2, 3], 1.0],
  [[1, 2, 3], 0.135335283],
  [[3, 1, 2], 0.0154694388],
  [[0, 2, 3], 0.000335462628],
  [[2, 0, 3], 0.0059760229],
  [[2, 4, 3], 0.0059760229],
  [[2, 2, 0], 0.000335462628],
  [[2, 2, 5], 0.0285655008],
  [[0, 0, 0], 6.72512781e-10],
  [[3, 4, 5], 2.31028273e-5],
];

for (
  const [name, shape, patch, step, batch] of [
    ["a volume of many patches", [2, 9, 11, 13], [4, 5, 6], 0.5, 3],
    ["one patch exactly", [1, 4, 5, 6], [4, 5, 6], 0.5, 1],
    ["a volume smaller than the patch", [1, 3, 2, 5], [4, 5, 8], 0.5, 2],
    ["a volume smaller along one axis", [2, 9, 3, 7], [4, 8, 4], 0.25, 4],
    ["uniform steps of a whole patch", [1, 7, 8, 9], [3, 4, 5], 1, 2],
  ] as [string, Shape, number[], number, number][]
) {
  for (const gaussian of [true, false]) {
    test(`slidingWindow() of the identity gives the input: ${name}, ${gaussian ? "Gaussian" : "uniform"}`, async () => {
      const data = random(
        1,
        shape.reduce((a, b) => a * b),
      );
      const progress: number[][] = [];
      let called = 0;
      const out = await slidingWindow(
        { data, shape },
        {
          patch,
          step,
          batch,
          gaussian,
          classes: shape[0],
          predict: (patches, count) => {
            called += count;
            assert.ok(
              patches.slice(count * (patches.length / batch)).every((v) => v === 0),
              "what is not filled is 0",
            );
            assert.is(patches.length, batch * shape[0] * patch[0] * patch[1] * patch[2]);
            return patches.slice();
          },
          onProgress: (done, total) => progress.push([done, total]),
        },
      );
      assert.equal(out.shape, shape);
      assert.equal([...out.data], [...data]);
      assert.equal(progress.at(-1), [called, called]);
      assert.is(progress.length, Math.ceil(called / batch));
    });
  }
}

test("slidingWindow() averages as a plain loop over patches does", async () => {
  const shape: Shape = [1, 7, 6, 9];
  const patch = [4, 5, 6];
  const data = random(2, 7 * 6 * 9);
  const importance = gaussianImportance(patch);
  // A predictor that depends on the place in the patch, so that the average of overlaps matters.
  const respond = (value: number, c: number, i: number) => (c + 1) * value + Math.sin(i + c);
  const out = await slidingWindow(
    { data, shape },
    {
      patch,
      batch: 2,
      classes: 2,
      predict: async (patches, count) => {
        const logits = new Float32Array(count * 2 * 120);
        for (let n = 0; n < count; n++) {
          for (let c = 0; c < 2; c++) {
            for (let i = 0; i < 120; i++) logits[(n * 2 + c) * 120 + i] = respond(patches[n * 120 + i], c, i);
          }
        }
        return logits;
      },
    },
  );
  for (let c = 0; c < 2; c++) {
    for (let z = 0; z < 7; z++) {
      for (let y = 0; y < 6; y++) {
        for (let x = 0; x < 9; x++) {
          let [sum, weight] = [0, 0];
          for (const a of tileStarts(7, 4, 0.5)) {
            for (const b of tileStarts(6, 5, 0.5)) {
              for (const d of tileStarts(9, 6, 0.5)) {
                const [k, j, i] = [z - a, y - b, x - d];
                if (k < 0 || k >= 4 || j < 0 || j >= 5 || i < 0 || i >= 6) continue;
                const at = (k * 5 + j) * 6 + i;
                sum += importance[at] * respond(data[(z * 6 + y) * 9 + x], c, at);
                weight += importance[at];
              }
            }
          }
          assert.ok(Math.abs(out.data[((c * 7 + z) * 6 + y) * 9 + x] - sum / weight) < 1e-5);
        }
      }
    }
  }
});

test("slidingWindowSlabs() yields each plane once, in order, for any volume, patch and step, and holds few", async () => {
  const prng = new Prng(5);
  for (let run = 0; run < 60; run++) {
    const space = [0, 1, 2].map(() => 1 + prng.integer(run % 3 === 0 ? 30 : 11));
    const patch = [0, 1, 2].map(() => 1 + prng.integer(9));
    const step = 0.3 + 0.7 * prng.uniform();
    const shape: Shape = [2, space[0], space[1], space[2]];
    const data = random(run, 2 * space[0] * space[1] * space[2]);
    const options = { patch, step, batch: 1 + prng.integer(4), classes: 2, predict: (p: Float32Array) => p };
    let plane = 0;
    for await (const slab of slidingWindowSlabs({ data, shape }, options)) {
      assert.is(slab.start, plane);
      assert.ok(slab.depth > 0 && slab.depth <= Math.max(patch[0], 1));
      const size = space[1] * space[2];
      assert.is(slab.data.length, 2 * slab.depth * size);
      for (let c = 0; c < 2; c++) {
        const from = (c * space[0] + plane) * size;
        const got = slab.data.slice(c * slab.depth * size, (c + 1) * slab.depth * size);
        assert.equal([...got], [...data.slice(from, from + got.length)], `${space} by ${patch}, step ${step}`);
      }
      plane += slab.depth;
    }
    assert.is(plane, space[0]);
  }
});

test("slidingWindowCost() tells memory that does not grow with the volume's depth", () => {
  const cost = (depth: number) => slidingWindowCost([1, depth, 40, 50], { patch: [8, 16, 16], classes: 3, batch: 2 });
  assert.is(cost(400).bytes, cost(40).bytes);
  // Averages and weights of 8 planes, 8 finished planes (at the end), and 2 batches of 2 patches with their logits.
  assert.is(cost(40).bytes, 4 * (4 * 8 * 2000 + 3 * 8 * 2000 + 2048 * (1 + 2 * (2 + 6))));
  assert.is(cost(40).calls, Math.ceil((9 * 4 * 6) / 2));
});

test("slidingWindowSlabs() can be left early, and passes errors on", async () => {
  const grid = { data: new Float32Array(1000), shape: [1, 10, 10, 10] as Shape };
  let calls = 0;
  const predict = async (p: Float32Array) => {
    if (++calls > 40) throw new Error("lost");
    return p;
  };
  for await (const slab of slidingWindowSlabs(grid, { patch: [4, 4, 4], classes: 1, predict })) {
    assert.is(slab.start, 0);
    break;
  }
  const message = await slidingWindow(grid, { patch: [4, 4, 4], classes: 1, predict }).then(
    String,
    (e: Error) => e.message,
  );
  assert.is(message, "lost");
});

test("slidingWindow() refuses logits of another size", async () => {
  const grid = { data: new Float32Array(27), shape: [1, 3, 3, 3] as Shape };
  const run = (classes: number, input = grid) =>
    slidingWindow(input, { patch: [3, 3, 3], classes, predict: (p) => p }).then(
      () => "",
      (e: Error) => e.message,
    );
  assert.match(await run(2), /predict gave 27 values, wanted 1 x 2 x 3 x 3 x 3/);
  assert.match(await run(1, { ...grid, data: new Float32Array(26) }), /got 26 values/);
});

test("argmaxLabels() takes the highest, the first of equals", () => {
  const data = Float32Array.from([1, 0, -5, 1, 3, -4, 0, 3, -6]);
  assert.equal([...argmaxLabels({ data, shape: [3, 1, 1, 3] })], [0, 1, 1]);
});

test.run();
