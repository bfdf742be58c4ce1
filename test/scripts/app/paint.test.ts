import { test } from "uvu";
import * as assert from "uvu/assert";
import { Edits } from "../../../scripts/app/viewer/edits.ts";
import { type Axis, slicesOf } from "../../../scripts/app/slices.ts";
import { fill, interpolate, stroke } from "../../../scripts/app/viewer/paint.ts";

const shape = [9, 7, 5] as const;
const SIZE = 9 * 7 * 5;
const fresh = (): Edits => new Edits(new Uint8Array(SIZE), shape);
const placeOf = (i: number): [number, number, number] => [i % 9, Math.floor(i / 9) % 7, Math.floor(i / 63)];
const spacing = [1, 1.5, 4] as const;

for (const axis of [0, 1, 2] as const) {
  test(`stroke() paints the voxels of a slice whose centers lie within the brush, axis ${axis}`, () => {
    const edits = fresh();
    const at = [3.2, 2.9, 2.1];
    stroke(edits, axis, at, at, { radius: 3.1, value: 2, spacing });
    const [a, b] = [[1, 2], [0, 2], [0, 1]][axis];
    for (let i = 0; i < SIZE; i++) {
      const voxel = placeOf(i);
      const away = Math.hypot((voxel[a] - at[a]) * spacing[a], (voxel[b] - at[b]) * spacing[b]);
      assert.is(edits.labels[i], voxel[axis] === Math.round(at[axis]) && away <= 3.1 ? 2 : 0, `${voxel}`);
    }
  });
}

test("stroke() leaves no gap on its way, erases with 0, and always paints the voxel under the pointer", () => {
  const edits = fresh();
  stroke(edits, 2, [0, 0, 1], [8, 6, 1], { radius: 0.01, value: 1, spacing });
  for (let x = 0; x < 9; x++) assert.ok(edits.labels.subarray(63, 126).some((v, i) => v === 1 && i % 9 === x), `${x}`);
  stroke(edits, 2, [4, 3, 1], [4, 3, 1], { radius: 100, value: 0, spacing });
  assert.is(edits.labels.some((value) => value > 0), false);
});

test("stroke() and fill() outside of the grid change nothing", () => {
  const edits = fresh();
  stroke(edits, 2, [-3, 2, 1], [-3, 2, 1], { radius: 9, value: 1, spacing });
  fill(edits, 2, [2, 2, 7], 1);
  assert.is(edits.commit(), undefined);
});

test("fill() fills what an outline of a slice encloses, and no other slice", () => {
  const edits = fresh();
  for (let x = 2; x <= 6; x++) {
    for (let y = 1; y <= 5; y++) {
      if (x === 2 || x === 6 || y === 1 || y === 5) edits.set(x + 9 * (y + 7 * 3), 1);
    }
  }
  fill(edits, 2, [4, 3, 3], 1);
  const count = edits.labels.filter((value) => value === 1).length;
  assert.equal([count, slicesOf(edits.labels, shape, 2, 1)], [25, [3]]);
  // Filling with what is there already ends.
  fill(edits, 2, [4, 3, 3], 1);
  assert.is(edits.labels.filter((value) => value === 1).length, 25);
});

test("interpolate() fills slices between disks by disks of radii between theirs, and keeps other classes", () => {
  const wide = [41, 41, 9] as const;
  const edits = new Edits(new Uint8Array(41 * 41 * 9), wide);
  const disk = (z: number, radius: number): void =>
    stroke(edits, 2, [20, 20, z], [20, 20, z], { radius, value: 1, spacing: [1, 1, 1] });
  disk(1, 6);
  disk(7, 15);
  edits.set(20 + 41 * (20 + 41 * 4), 3);
  assert.is(interpolate(edits, 2, 1, [1, 1, 1]), 5);
  for (let z = 2; z < 7; z++) {
    const own = edits.labels.subarray(41 * 41 * z, 41 * 41 * (z + 1));
    const radius = 6 + (9 * (z - 1)) / 6;
    const area = own.filter((value) => value > 0).length;
    assert.ok(Math.abs(Math.sqrt(area / Math.PI) - radius) < 0.6, `slice ${z}: ${Math.sqrt(area / Math.PI)}`);
  }
  assert.is(edits.labels[20 + 41 * (20 + 41 * 4)], 3);
  assert.is(interpolate(edits, 2, 1, [1, 1, 1]), 0);
});

test("interpolate() works across every axis, and not with one slice", () => {
  for (const axis of [0, 1, 2] as Axis[]) {
    const edits = fresh();
    const at = [4, 3, 2];
    const paint = (slice: number): void => {
      const place = at.map((v, k) => (k === axis ? slice : v));
      stroke(edits, axis, place, place, { radius: 1.2, value: 1, spacing: [1, 1, 1] });
    };
    paint(0);
    assert.is(interpolate(edits, axis, 1, [1, 1, 1]), 0);
    paint(4);
    assert.is(interpolate(edits, axis, 1, [1, 1, 1]), 3);
    assert.equal(slicesOf(edits.labels, shape, axis, 1), [0, 1, 2, 3, 4]);
  }
});

test("Edits take steps back and do them again, with the box that each touched", () => {
  const edits = fresh();
  const empty = edits.labels.slice();
  edits.set(5, 1);
  edits.set(5, 2);
  edits.set(5 + 9 * 3, 1);
  assert.equal(edits.commit(), [[5, 0, 0], [5, 3, 0]]);
  const first = edits.labels.slice();
  const whole = new Uint8Array(SIZE).fill(4);
  assert.equal(edits.replace(whole), [[0, 0, 0], [8, 6, 4]]);
  edits.undo();
  assert.equal(edits.labels, first);
  assert.equal(edits.undo(), [[5, 0, 0], [5, 3, 0]]);
  assert.equal([edits.labels, edits.canUndo, edits.undo()], [empty, false, undefined]);
  edits.redo();
  edits.redo();
  assert.equal([edits.labels, edits.canRedo], [whole, false]);
  // A new change ends what could be done again.
  edits.undo();
  edits.set(0, 9);
  edits.commit();
  assert.is(edits.redo(), undefined);
  assert.is(edits.labels[0], 9);
});

test("Edits make no step of what changed nothing, and count versions", () => {
  const edits = fresh();
  edits.set(3, 0);
  assert.is(edits.commit(), undefined);
  assert.is(edits.replace(new Uint8Array(SIZE)), undefined);
  assert.is(edits.version, 0);
  edits.set(3, 1);
  assert.equal([edits.fresh(), edits.fresh()], [[[3, 0, 0], [3, 0, 0]], undefined]);
  edits.commit();
  edits.undo();
  assert.is(edits.version, 2);
});

test.run();
