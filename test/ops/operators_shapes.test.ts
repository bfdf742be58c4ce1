/** Empty tensors and other ranks than those of test/ops/operators.ts: what an operator does not refuse is computed. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { ones, Tensor } from "../../engine/mod.ts";
import { call, label, tensorsOf } from "../helpers/operator_entry.ts";
import { entries } from "./operators.ts";

for (const e of entries) {
  if (e.inputs.length === 0) continue;
  test(`${label(e)} computes what it takes of empty tensors and other ranks`, async () => {
    const tensors = tensorsOf(e);
    const results: Tensor[] = [];
    tensors.forEach((x, k) => {
      const shapes = [
        [],
        [0],
        [1, 1, 1, 1, 1, 1, 1],
        [0, ...x.shape.slice(1)],
        [...x.shape.slice(0, -1), 0],
        x.shape.map((n, axis) => (axis === 1 ? 0 : n)),
        [...x.shape, 1],
      ];
      for (const shape of shapes) {
        const others = tensors.map((y, j) => (j === k || e.list ? ones(shape, { dtype: y.dtype }) : y));
        try {
          results.push(...call(e, others));
        } catch (error) {
          assert.instance(error, vg.VoxgradError);
        }
      }
    });
    await vg.evaluate(results);
    for (const y of results) assert.is((await y.data()).length, y.size, `${y}`);
  });
}

test("sum(), matmul() and softmax() of empty axes give zeros and empty tensors", async () => {
  const none = ones([3, 0, 2]);
  assert.equal(await none.sum({ axes: [1] }).array(), [[0, 0], [0, 0], [0, 0]]); // prettier-ignore
  assert.equal(await none.sum({ axes: [0, 1], keepDims: true }).array(), [[[0, 0]]]);
  assert.is(await none.sum().item(), 0);
  assert.equal(await vg.matmul(ones([2, 0]), ones([0, 3])).array(), [[0, 0, 0], [0, 0, 0]]); // prettier-ignore
  assert.equal(none.softmax({ axis: 1 }).shape, [3, 0, 2]);
  const gradient = vg.grad((x: Tensor) => x.sum().add(x.softmax({ axis: 1 }).sum()))(none);
  assert.equal(gradient.shape, [3, 0, 2]);
  assert.is((await gradient.data()).length, 0);
});

test.after(vg.closeDevice);
test.run();
