/** Running sums against a float64 loop; derivatives and batches are in the operator table. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";

/** The sums along the middle axis of [outer, n, inner]. */
function reference(x: ArrayLike<number>, [outer, n, inner]: readonly [number, number, number], reverse: boolean) {
  const y = new Float64Array(x.length);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let total = 0;
      for (let k = 0; k < n; k++) {
        const at = (o * n + (reverse ? n - 1 - k : k)) * inner + i;
        y[at] = total += x[at];
      }
    }
  }
  return y;
}

for (
  const shape of [
    [1, 1, 1],
    [2, 3, 5],
    [3, 64, 1],
    [2, 65, 3],
    [1, 5003, 1],
    [7, 129, 2],
  ] as const
) {
  for (const reverse of [false, true]) {
    test(`cumsum() agrees with a float64 loop: [${shape.join(", ")}]${reverse ? ", reversed" : ""}`, async () => {
      const x = noise(shape[0] * shape[1] * shape[2], 3);
      const y = vg.cumsum(vg.tensor(x, { shape }), { axis: 1, reverse });
      // Sums of noise cross 0, so errors are taken against the largest one; rounding grows with the root of the length.
      assert.ok(relativeError(await y.data(), reference(x, shape, reverse)) < 1e-6);
    });
  }
}

test("cumsum() sums integers and booleans exactly and keeps empty tensors", async () => {
  assert.equal([...(await vg.tensor([true, false, true, true]).cumsum().data())], [1, 1, 2, 3]);
  const many = await vg.full([70_000], 3, { dtype: "i32" }).cumsum().data();
  assert.ok(many.every((v, k) => v === 3 * (k + 1)));
  assert.equal((await vg.zeros([0, 3]).cumsum({ axis: 0 }).data()).length, 0);
});

test.after(vg.closeDevice);
test.run();
