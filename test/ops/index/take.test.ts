/**
 * The adjoint of take with many indices, which sorts them, against a plain loop; few indices are in the operator table.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import type { Tensor } from "../../../engine/mod.ts";
import { relativeError } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";

const [n, count] = [301, 450];
// Indices repeat, miss some places, and run off both ends.
const indices = Int32Array.from(noise(count, 5), (v) => Math.floor(((v + 1) / 2) * (n + 20)) - 10);
const x = vg.tensor(noise(2 * n * 3, 1), { shape: [2, n, 3] });
const at = vg.tensor(indices, { shape: [45, 10] });
const f = (t: Tensor): Tensor => vg.take(t, at, { axis: 1 });

test("vjp() of take adds every cotangent where its value was taken from", async () => {
  const u = noise(2 * count * 3, 2);
  const [, pullback] = vg.vjp(f, [x]);
  const [dx] = pullback(vg.tensor(u, { shape: [2, 45, 10, 3] }));
  const wanted = new Float64Array(2 * n * 3);
  for (let b = 0; b < 2; b++) {
    for (let k = 0; k < count; k++) {
      const place = Math.min(n - 1, Math.max(0, indices[k]));
      for (let c = 0; c < 3; c++) wanted[(b * n + place) * 3 + c] += u[(b * count + k) * 3 + c];
    }
  }
  // A place sums a dozen terms at most.
  assert.ok(relativeError(await dx.data(), wanted) < 1e-6);
});

test("hvp() of a cube of take is 6 x v for each time a value was taken", async () => {
  const v = noise(2 * n * 3, 3);
  const [hv] = vg.hvp((t: Tensor) => f(t).pow(3).sum(), [x], [vg.tensor(v, { shape: [2, n, 3] })]);
  const times = new Float64Array(n);
  for (const k of indices) times[Math.min(n - 1, Math.max(0, k))]++;
  const values = await x.data();
  const wanted = Float64Array.from(values, (value, k) => 6 * value * v[k] * times[Math.floor(k / 3) % n]);
  assert.ok(relativeError(await hv.data(), wanted) < 1e-6);
});

test.after(vg.closeDevice);
test.run();
