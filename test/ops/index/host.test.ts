/** unique and nonzero, whose results have shapes that depend on data. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { nonzero, type Tensor, tensor, unique } from "../../../engine/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

test("unique() gives ascending values, first places, inverse and counts, as numpy.unique", async () => {
  const x = tensor([[2, NaN, -1], [2, Infinity, NaN], [0, -0, -1]]);
  const { values, indices, inverse, counts } = await unique(x);
  assert.equal([...(await values.data())], [-1, 0, 2, Infinity, NaN]);
  assert.equal(await indices.array(), [2, 6, 0, 4, 1]);
  assert.equal(await inverse.array(), [[2, 4, 0], [2, 3, 4], [1, 1, 0]]);
  assert.equal(await counts.array(), [2, 2, 2, 1, 2]);
});

test("unique() agrees with a Set for many integers, bool and empty tensors", async () => {
  const data = Int32Array.from(noise(5000, 3), (v) => Math.floor(v * 300));
  const { values, counts, inverse } = await unique(tensor(data));
  const wanted = [...new Set(data)].sort((a, b) => a - b);
  assert.equal([...(await values.data())], wanted);
  assert.equal([...(await counts.data())], wanted.map((v) => data.filter((w) => w === v).length));
  assert.equal([...(await values.take(inverse).data())], [...data]);
  const truths = await unique(tensor([true, false, true]));
  assert.is(truths.values.dtype, "bool");
  assert.equal(await truths.values.array(), [false, true]);
  const none = await unique(vg.zeros([0, 3]));
  assert.equal([none.values.shape, none.inverse.shape], [[0], [0, 3]]);
});

test("nonzero() gives coordinates in row-major order, as torch.nonzero", async () => {
  assert.equal(await (await nonzero(tensor([[0, NaN, 3], [-0, 0, -1]]))).array(), [[0, 1], [0, 2], [1, 2]]);
  assert.equal(await (await nonzero(tensor([true, false, true]))).array(), [[0], [2]]);
  assert.equal((await nonzero(vg.zeros([2, 3, 4]))).shape, [0, 3]);
  assert.equal((await nonzero(tensor(5))).shape, [1, 0]);
  const x = tensor(noise(60, 1), { shape: [3, 4, 5] }).greater(0.5);
  const places = (await (await nonzero(x)).array()) as number[][];
  const data = await x.data();
  assert.is(places.length, Array.from(data).filter((v) => v !== 0).length);
  for (const [i, j, k] of places) assert.is(data[(i * 4 + j) * 5 + k], 1);
});

test("unique() and nonzero() are refused inside a function that is traced", async () => {
  for (const [name, f] of Object.entries({ unique, nonzero })) {
    let refusal: Promise<void> | undefined;
    await vg.compile((x: Tensor) => {
      refusal = refuses(
        f(x),
        new RegExp(`^${name}: Tensor.* is an argument of a function that compile or vmap traces`),
      );
      return x.add(1);
    })(tensor([1]));
    await refusal!;
  }
  await refuses(unique([1] as never), /^unique: the input is a tensor, got \[1\]$/);
  await refuses(nonzero(tensor([1]), { axis: 0 } as never), /^nonzero: it takes no options, got { axis }$/);
});

test.after(vg.closeDevice);
test.run();
