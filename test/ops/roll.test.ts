/** roll against a loop over indices; derivatives, batches and bad arguments are in the operator table. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { noise } from "../helpers/noise.ts";
import { refuses } from "../helpers/refuse.ts";

/** Values of [d, h, w] after a shift of each axis. */
function rolled(x: ArrayLike<number>, shape: readonly number[], shifts: readonly number[]): number[] {
  const y = new Array<number>(x.length);
  const [d, h, w] = shape;
  const at = (k: number, axis: number): number => (((k + shifts[axis]) % shape[axis]) + shape[axis]) % shape[axis];
  for (let z = 0, i = 0; z < d; z++) {
    for (let r = 0; r < h; r++) for (let c = 0; c < w; c++, i++) y[(at(z, 0) * h + at(r, 1)) * w + at(c, 2)] = x[i];
  }
  return y;
}

const shape = [3, 5, 7];
const data = noise(105, 1);
const x = vg.tensor(data, { shape });

for (
  const [options, shifts] of [
    [{ shift: 2, axes: [1] }, [0, 2, 0]],
    [{ shift: [-1, 4], axes: [-1, 0] }, [4, 0, -1]],
    [{ shift: 1, axes: [0, 1, 2] }, [1, 1, 1]],
    [{ shift: -23, axes: [2] }, [0, 0, -23]],
    [{ shift: 10, axes: [1] }, [0, 0, 0]],
    [{ shift: [], axes: [] }, [0, 0, 0]],
  ] as const
) {
  test(`roll() with ${JSON.stringify(options)} moves each value to its index plus shift`, async () => {
    assert.equal([...(await vg.roll(x, options).data())], rolled(data, shape, shifts));
  });
}

test("roll() without axes rolls the flat values and keeps the shape", async () => {
  const y = x.roll({ shift: 9 });
  assert.equal(y.shape, shape);
  assert.equal([...(await y.data())], rolled(data, [1, 1, 105], [0, 0, 9]));
});

test("roll() keeps integers, scalars and empty tensors", async () => {
  assert.equal(await vg.tensor([1, 2, 3], { dtype: "i32" }).roll({ shift: 1 }).array(), [3, 1, 2]);
  assert.is(await vg.tensor(4).roll({ shift: 3 }).item(), 4);
  assert.equal(vg.zeros([0, 3]).roll({ shift: 1, axes: [0] }).shape, [0, 3]);
});

test("roll() throws VoxgradError on a fractional shift, another number of shifts and an axis named twice", () => {
  const shift = /^roll: shift is an integer, or one for each of 1 axes, got /;
  refuses(() => vg.roll(x, { shift: 0.5, axes: [0] }), shift);
  refuses(() => vg.roll(x, { shift: [1, 2], axes: [0] }), shift);
  refuses(() => vg.roll(x, { shift: 1, axes: [0, -3] }), /^roll: axes \[0, -3\] name an axis twice$/);
});

test.after(vg.closeDevice);
test.run();
