/** dynamicSlice and dynamicUpdateSlice at every place, compiled once; derivatives are in other tests. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { type Tensor, tensor } from "../../../engine/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

const shape = [3, 4, 5];
const x = tensor(noise(60, 1), { shape });
const block = tensor(noise(12, 2), { shape: [2, 2, 3] });

test("dynamicSlice() and dynamicUpdateSlice() in a compiled function are slices clamped to the tensor", async () => {
  const read = vg.compile((start: Tensor) => vg.dynamicSlice(x, start, { size: [2, 2, 3] }));
  const write = vg.compile((i: Tensor, j: Tensor) =>
    vg.dynamicUpdateSlice(x, block, [i.cast("i32"), 1, j.cast("i32")])
  );
  for (const start of [[0, 0, 0], [1, 2, 2], [1, 1, 0], [-4, 9, 1], [2 ** 31 - 1, -(2 ** 31), 2]]) {
    const at = start.map((s, k) => Math.max(0, Math.min(s, shape[k] - block.shape[k])));
    const end = at.map((s, k) => s + block.shape[k]);
    const got = await read(tensor(start, { dtype: "i32" }));
    assert.equal(await got.array(), await x.slice({ start: at, end }).array(), `slice at ${start}`);
    const data = Float32Array.from(await x.data());
    const values = await block.data();
    for (let k = 0; k < 12; k++) {
      const [i, j, l] = [Math.floor(k / 6), Math.floor(k / 3) % 2, k % 3];
      data[((at[0] + i) * 4 + 1 + j) * 5 + at[2] + l] = values[k];
    }
    if (Math.abs(start[0]) > 1e6) continue;
    assert.equal([...(await (await write(start[0], start[2])).data())], [...data], `update at ${start}`);
  }
  assert.is((await read.plan(tensor([0, 0, 0], { dtype: "i32" }))).kernels.length, 1);
});

test("vmap() starts each example at a place of its own", async () => {
  const places = tensor([[0, 0, 0], [1, 2, 2], [0, 1, 1]], { dtype: "i32" });
  const f = (start: Tensor): Tensor => vg.dynamicSlice(x, start, { size: [2, 2, 3] });
  const each = await Promise.all([0, 1, 2].map((k) => f(places.select({ index: k })).data()));
  assert.equal([...(await vg.vmap(f)(places).data())], each.flatMap((y) => [...y]));
});

test("dynamicSlice() takes empty blocks and rank 0, and refuses what is known not to fit", async () => {
  assert.equal(vg.dynamicSlice(x, [0, 4, 0], { size: [3, 0, 5] }).shape, [3, 0, 5]);
  assert.equal(await vg.dynamicUpdateSlice(x, vg.zeros([3, 0, 5]), [0, 0, 0]).data(), await x.data());
  assert.is(await vg.dynamicSlice(tensor(7), [], { size: [] }).item(), 7);
  refuses(
    () => vg.dynamicSlice(x, [0, 3, 0], { size: [3, 2, 5] }),
    /^dynamicSlice: start 3 of axis 1 is not in \[0, 2\], where \[3, 2, 5\] fits$/,
  );
  refuses(() => vg.dynamicSlice(x, [0, 0], { size: [1, 1, 1] }), /^dynamicSlice: start is a vector, or an array of 3 /);
  refuses(
    () => vg.dynamicSlice(x, [0, 0, 0], { size: [1, 1, 6] }),
    /^dynamicSlice: size has an entry for each axis of/,
  );
  refuses(() => vg.dynamicSlice(x, [0, 0, tensor(1)], { size: [1, 1, 1] }), /^dynamicSlice: start 2 is an integer, or/);
  refuses(
    () => vg.dynamicUpdateSlice(x, vg.zeros([4, 1, 1]), [0, 0, 0]),
    /^dynamicUpdateSlice: the update has the dtype/,
  );
});

test.after(vg.closeDevice);
test.run();
