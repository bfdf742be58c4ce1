/** Tensors of more windows than a kernel binds: reductions go by parts, with WebGPU's default of 8 buffers a kernel. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { closeDevice, evaluate, openDevice, type Tensor, tensor } from "../../engine/mod.ts";

/** 256 elements a window. */
const WINDOW = 256;
const [A, B, C] = [5, 37, 41];
const values = Float32Array.from({ length: A * B * C }, (_, k) => ((k * 7919) % 1013) - 500);
const at = (a: number, b: number, c: number): number => values[(a * B + b) * C + c];
const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k);

test.before(async () => {
  const info = await openDevice({ limits: "default", maxBindingBytes: 4 * WINDOW });
  assert.is(info.limits.maxStorageBuffersPerShaderStage, 8);
  assert.ok(values.length > 8 * WINDOW);
});

const x = (): Tensor => tensor(values, { shape: [A, B, C] });

test("sum(), max(), min() and argmax() over any axes of 30 windows", async () => {
  for (const given of [x(), await evaluate(x().add(0))]) {
    assert.is(await given.sum().item(), values.reduce((a, b) => a + b, 0));
    assert.is(await given.max().item(), Math.max(...values));
    assert.is(await given.min().item(), Math.min(...values));
    assert.is(await given.argmax().item(), values.indexOf(Math.max(...values)));
    assert.equal(
      [...(await given.sum({ axes: [0, 2] }).data())],
      range(B).map((b) => range(A).reduce((s, a) => s + range(C).reduce((t, c) => t + at(a, b, c), 0), 0)),
    );
    assert.equal(
      [...(await given.max({ axes: [1] }).data())],
      range(A).flatMap((a) => range(C).map((c) => Math.max(...range(B).map((b) => at(a, b, c))))),
    );
    assert.equal(
      [...(await given.sum({ axes: [1, 2] }).data())],
      range(A).map((a) => range(B * C).reduce((s, k) => s + values[a * B * C + k], 0)),
    );
    const first = range(B).flatMap((b) =>
      range(C).map((c) => {
        const column = range(A).map((a) => at(a, b, c));
        return column.indexOf(Math.max(...column));
      })
    );
    assert.equal([...(await given.argmax({ axis: 0 }).data())], first);
  }
});

test("sum() of what is computed from two tensors of many chunks, of one row of them, and of ones", async () => {
  const y = x().mul(0.5).add(1);
  const wanted = values.reduce((s, v) => s + v * (v * 0.5 + 1), 0);
  assert.ok(Math.abs((await x().mul(y).sum().item()) - wanted) < 1e-5 * Math.abs(wanted));
  const flat = tensor(values).reshape({ shape: [values.length, 1] });
  assert.is(await flat.sum().item(), values.reduce((a, b) => a + b, 0));
  assert.is(await vg.ones([1, 1, 3 * 4099]).add(tensor([0])).sum().item(), 3 * 4099);
  const withNaN = values.slice();
  withNaN[7001] = NaN;
  assert.is(await tensor(withNaN).argmax().item(), 7001);
  assert.ok(Number.isNaN(await tensor(withNaN).max().item()));
});

test("grad() of sums over many chunks is right", async () => {
  const g = await vg.grad((t: Tensor) => t.square().mul(0.25).sum())(x()).data();
  values.forEach((v, k) => assert.ok(Math.abs(g[k] - v / 2) < 1e-4, String(k)));
});

test("slice() of a tensor of many chunks binds only the chunks that it lies in", async () => {
  const part = x().slice({ start: [2, 3], end: [3, 9] }).mul(2);
  assert.equal([...(await part.data())], range(6).flatMap((b) => range(C).map((c) => 2 * at(2, b + 3, c))));
});

test.after(closeDevice);
test.run();
