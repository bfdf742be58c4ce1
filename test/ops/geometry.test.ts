/** distanceTransform, connectedComponents and fillHoles against SciPy's numbers and against plain loops. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import {
  assertSame,
  components,
  count,
  distances,
  filled,
  randomMask,
  snake,
  spiral,
  volume,
} from "../helpers/reference/geometry.ts";
import { assertClose, elementError } from "../helpers/compare.ts";
import { goldenJson, goldenTensors } from "../helpers/golden.ts";

test("distanceTransform(), connectedComponents() and fillHoles() agree with SciPy", async () => {
  const golden = goldenTensors("geometry");
  for (const { name, op, spacing, connectivity, count: parts, input, output } of goldenJson("geometry").cases) {
    // Metrics, superpixels and spline resampling have tests of their own.
    if (!["distanceTransform", "connectedComponents", "fillHoles"].includes(op)) continue;
    const { shape, data } = golden(input);
    const mask = vg.tensor(data, { shape });
    if (op === "distanceTransform") {
      await assertClose(vg.distanceTransform(mask, { spacing }), golden(output), 1e-6, name);
    } else if (op === "connectedComponents") {
      const labels = vg.connectedComponents(mask, { connectivity });
      assert.equal([...labels.shape, labels.dtype], [...shape, "i32"]);
      assertSame(await labels.data(), golden(output).data, name);
      assert.is(await labels.max().item(), parts);
    } else {
      const result = vg.fillHoles(mask);
      assert.equal([...result.shape, result.dtype], [...shape, "bool"]);
      assertSame(await result.data(), golden(output).data, name);
    }
  }
});

test("distanceTransform() agrees with a search of all zeros, for odd sizes and spacings", async () => {
  const cases: [number[], number | number[], number][] = [
    [[1, 1, 1], 1, 0],
    [[1, 1, 1], 2, 1],
    [[1, 1, 37], [9, 9, 0.3], 0.9],
    [[200, 3, 1], [1, 2, 3], 0.98],
    [[1, 19, 40], [5, 0.7, 1.3], 0.99],
    [[9, 10, 11], [2.5, 0.8, 0.7], 0.5],
    [[31, 29, 23], 1, 0.999],
    [[31, 29, 23], [1e-3, 1, 1e3], 0.999],
    [[31, 29, 23], 1e-15, 0.999],
    [[12, 13, 14], 1e15, 0.99],
    [[129, 65, 33], [3, 1, 2], 0.9998],
    [[1, 1], 1, 1],
    [[40, 1], [0.5, 4], 0.9],
    [[50, 61], [1, 7], 0.995],
  ];
  for (const [shape, spacing, share] of cases) {
    const mask = randomMask(count(shape), share, count(shape));
    const sides = typeof spacing === "number" ? [spacing, spacing, spacing] : volume(spacing);
    const got = await vg.distanceTransform(vg.tensor(mask, { shape }), { spacing }).data();
    const error = elementError(got, distances(mask, volume(shape), sides));
    assert.ok(error < 1e-6, `[${shape}] spacing ${spacing}: relative error ${error}`);
  }
});

test("distanceTransform() takes far zeros and lines above 65536, and gives infinity without zeros", async () => {
  // Squares up to 2^24 are exact: what is left is the rounding of the root, which WGSL lets be loose.
  for (
    const shape of [
      [3, 2800, 5],
      [2800, 3],
      [4, 2900],
    ]
  ) {
    const mask = new Uint8Array(count(shape)).fill(1);
    mask[1] = 0;
    const got = await vg.distanceTransform(vg.tensor(mask, { shape })).data();
    const wanted = distances(mask, volume(shape), [1, 1, 1]);
    const squares = Array.from(got, (d, i) => Math.abs(d * d - wanted[i] ** 2));
    assert.ok(
      squares.every((error, i) => error < 4e-7 * Math.max(1, wanted[i] ** 2)),
      `[${shape}]`,
    );
  }
  for (
    const shape of [
      [70001, 2],
      [2, 70001],
      [1, 70001, 2],
    ]
  ) {
    const mask = new Uint8Array(count(shape)).fill(1);
    mask[5] = mask[134001] = mask[139801] = 0;
    const got = await vg.distanceTransform(vg.tensor(mask, { shape }), { spacing: 2 }).data();
    assert.ok(elementError(got, distances(mask, volume(shape), [2, 2, 2])) < 1e-6, `[${shape}]`);
  }
  for (
    const shape of [
      [1, 1],
      [5, 7],
      [3, 4, 5],
      [1, 1, 9],
    ]
  ) {
    assert.ok((await vg.distanceTransform(vg.ones(shape)).data()).every((d) => d === Infinity));
    assert.ok((await vg.distanceTransform(vg.zeros(shape)).data()).every((d) => d === 0));
  }
});

test("connectedComponents() and fillHoles() agree with flood fill", async () => {
  const shapes = [
    [1, 1, 1],
    [200, 3, 1],
    [1, 9, 150],
    [5, 1, 70],
    [129, 65, 3],
    [12, 13, 66],
    [1, 1],
    [300, 1],
    [9, 200],
  ];
  for (const shape of shapes) {
    for (const share of [0.15, 0.32, 0.6, 0.93]) {
      const values = randomMask(count(shape), share, count(shape) + 1);
      const mask = vg.tensor(values, { shape });
      const kinds = shape.length === 2 ? ([4, 8] as const) : ([6, 18, 26] as const);
      for (const [k, connectivity] of kinds.entries()) {
        const wanted = components(values, volume(shape), k + 1);
        const what = `[${shape}] share ${share} connectivity ${connectivity}`;
        assertSame(await vg.connectedComponents(mask, { connectivity }).data(), wanted, what);
      }
      const wanted = filled(values, volume(shape), shape.length);
      assertSame(await vg.fillHoles(mask).data(), wanted, `holes of [${shape}] share ${share}`);
    }
  }
});

test("connectedComponents() takes long paths, checkerboards, full and empty masks", async () => {
  const n = 64;
  const path = snake(n);
  const flat = spiral(151);
  const board = Uint8Array.from({ length: 33 * 34 * 70 }, (_, i) => {
    return (Math.floor(i / (34 * 70)) + Math.floor(i / 70) + i) % 2;
  });
  // The path in six orientations, forwards and backwards, and what it leaves free.
  const cube = vg.tensor(path, { shape: [n, n, n] });
  for (
    const axes of [
      [0, 1, 2],
      [1, 2, 0],
      [2, 0, 1],
    ]
  ) {
    for (const mask of [vg.transpose(cube, { axes }), vg.flip(vg.transpose(cube, { axes }), { axes: [0, 1, 2] })]) {
      assertSame(await vg.connectedComponents(mask).data(), await mask.data(), `a path along axes ${axes}`);
    }
  }
  assert.is(
    path.reduce((a, b) => a + b),
    32 * 32 * 64 + 32 * 31 + 31,
  );
  const rest = path.map((v) => 1 - v);
  const labels = await vg.connectedComponents(vg.logicalNot(cube)).data();
  assertSame(labels, components(rest, [n, n, n], 1), "what a path leaves");
  for (const values of [flat, flat.map((v) => 1 - v), flat.slice().reverse()]) {
    const got = await vg.connectedComponents(vg.tensor(values, { shape: [151, 151] })).data();
    assertSame(got, components(values, [1, 151, 151], 1), "a spiral");
  }
  assert.is(Math.max(...components(flat, [1, 151, 151], 1)), 1);
  const checkers = vg.tensor(board, { shape: [33, 34, 70] });
  let last = 0;
  assertSame(
    await vg.connectedComponents(checkers).data(),
    Int32Array.from(board, (v) => (v ? ++last : 0)),
    "checkers",
  );
  assertSame(await vg.connectedComponents(checkers, { connectivity: 18 }).data(), board, "checkers by edges");
  for (const connectivity of [6, 18, 26] as const) {
    const shape = [20, 31, 130];
    assert.ok((await vg.connectedComponents(vg.ones(shape), { connectivity }).data()).every((v) => v === 1));
    assert.ok((await vg.connectedComponents(vg.zeros(shape), { connectivity }).data()).every((v) => v === 0));
  }
  assert.ok((await vg.fillHoles(vg.zeros([7, 8, 130])).data()).every((v) => v === 0));
  assert.ok((await vg.fillHoles(vg.ones([7, 8, 130])).data()).every((v) => v === 1));
});

test.after(() => vg.closeDevice());
test.run();
