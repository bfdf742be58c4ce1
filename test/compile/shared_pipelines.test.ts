/** Kernels that differ only in numbers share a pipeline, and each reads its own numbers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { device, pipelineCount } from "../../engine/gpu/mod.ts";
import { conv3d, evaluate, relu, type Tensor, tensor, valueAndGrad } from "../../engine/mod.ts";

/** Small whole numbers: sums of their products are exact in any order. */
const whole = (shape: readonly number[], step: number): Tensor => {
  const length = shape.reduce((a, b) => a * b, 1);
  return tensor(Float32Array.from({ length }, (_, k) => ((k * step) % 7) - 3), { shape });
};

/** Pipelines that `f` adds. */
async function added(f: () => Promise<unknown>): Promise<number> {
  const before = pipelineCount();
  await f();
  return pipelineCount() - before;
}

test("compile() perceptrons of other batches and widths share all pipelines", async () => {
  const run = async (batch: number, width: number): Promise<void> => {
    const [x, w] = [whole([batch, width], 5), whole([width, 24], 3)];
    const [loss, slope] = valueAndGrad((v: Tensor): Tensor => relu(x.matmul(v)).square().sum())(w);
    const [value, slopes] = [await loss.item(), await slope.data()];
    const [a, b] = [await x.data(), await w.data()];
    let expected = 0;
    const expectedSlopes = new Float64Array(width * 24);
    for (let i = 0; i < batch; i++) {
      for (let j = 0; j < 24; j++) {
        let y = 0;
        for (let k = 0; k < width; k++) y += a[i * width + k] * b[k * 24 + j];
        expected += Math.max(y, 0) ** 2;
        for (let k = 0; k < width; k++) expectedSlopes[k * 24 + j] += 2 * Math.max(y, 0) * a[i * width + k];
      }
    }
    assert.is(value, expected);
    assert.equal([...slopes], [...expectedSlopes]);
  };
  assert.ok(await added(() => run(15, 33)) > 0);
  assert.is(await added(() => run(21, 41)), 0);
});

test("conv3d() other channels and extents share a pipeline, forward and its gradient", async () => {
  const run = async (channels: number, size: readonly [number, number, number]): Promise<void> => {
    const [x, w] = [whole([2, channels, ...size], 5), whole([channels, channels, 3, 3, 3], 3)];
    const y = await evaluate(conv3d(x, w, { padding: 1 }));
    const [values, a, b] = [await y.data(), await x.data(), await w.data()];
    const [d, h, v] = size;
    for (const [n, o, z, row, column] of [[0, 0, 0, 0, 0], [1, channels - 1, d - 1, h - 1, v - 1], [1, 3, 2, 1, 5]]) {
      let sum = 0;
      for (let c = 0; c < channels; c++) {
        for (let t = 0; t < 27; t++) {
          const [iz, iy, ix] = [z + Math.floor(t / 9) - 1, row + Math.floor(t / 3) % 3 - 1, column + t % 3 - 1];
          if (iz < 0 || iz >= d || iy < 0 || iy >= h || ix < 0 || ix >= v) continue;
          sum += a[(((n * channels + c) * d + iz) * h + iy) * v + ix] * b[(o * channels + c) * 27 + t];
        }
      }
      assert.is(values[(((n * channels + o) * d + z) * h + row) * v + column], sum);
    }
  };
  // The kernels of convolutions that suit a GPU print their sizes.
  const isShared = (await device()).target.software;
  await run(16, [6, 5, 16]);
  assert.is(await added(() => run(32, [4, 7, 32])) === 0, isShared);
  const gradient = async (channels: number): Promise<void> => {
    const w = whole([channels, channels, 3, 3, 3], 3);
    const loss = (x: Tensor): Tensor => conv3d(x, w, { padding: 1 }).sum();
    await evaluate(valueAndGrad(loss)(whole([1, channels, 4, 6, 16], 5))[1]);
  };
  await gradient(16);
  assert.is(await added(() => gradient(32)) === 0, isShared);
});

// The quotient of an index and a number that the kernel reads goes by way of f32 up to 2^21.
for (const [rows, total] of [[9661, 2 ** 21 - 715], [9677, 2 ** 21 + 2757]]) {
  test(`add() broadcasts along a middle axis: every one of ${total} elements`, async () => {
    assert.is(rows * 31 * 7, total);
    const x = tensor(Float32Array.from({ length: total }, (_, k) => k), { shape: [rows, 31, 7] });
    const bias = tensor(Float32Array.from({ length: 31 }, (_, k) => 1000 * k), { shape: [31, 1] });
    const values = await x.add(bias).data();
    for (let k = 0; k < total; k++) {
      const expected = k + 1000 * (Math.floor(k / 7) % 31);
      if (values[k] !== expected) assert.is(values[k], expected, `element ${k}`);
    }
  });
}

test.run();
