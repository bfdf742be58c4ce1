/** sort, argsort, topK and searchSorted against sorts and searches of the host; derivatives are in other tests. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { type DType, tensor } from "../../../engine/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

/** The stable order of values of a line: NaN is the largest, -0 is 0. */
function orderOf(values: ArrayLike<number>, descending: boolean): number[] {
  const compare = (a: number, b: number): number =>
    Number.isNaN(a) || Number.isNaN(b) ? Number(Number.isNaN(a)) - Number(Number.isNaN(b)) : a < b ? -1 : Number(a > b);
  const order = Array.from({ length: values.length }, (_, k) => k);
  return order.sort((a, b) => (descending ? -1 : 1) * compare(values[a], values[b]) || a - b);
}

/** Values of a dtype with many ties, and for floats the numbers at the ends. */
function valuesOf(dtype: DType, count: number, seed: number): number[] {
  const ends = [NaN, -NaN, Infinity, -Infinity, 0, -0, 3.4e38, -3.4e38, 1e-38, -1e-38];
  return Array.from(noise(count, seed), (v, k) => {
    if (dtype === "bool") return Number(v > 0);
    if (dtype === "f32") {
      return k % 7 === 3 ? ends[Math.floor(k / 7) % ends.length] : Math.fround(Math.round(v * 200) / 9);
    }
    const whole = Math.floor(v * 2 ** (k % 2 === 0 ? 31 : 6));
    return dtype === "u32" ? whole >>> 0 : whole;
  });
}

// Around the lengths at which the kernel changes, and several chunks of a line.
const short = [[3, 1], [5, 2], [4, 63], [4, 64], [300, 20], [300, 64], [5000, 16]];
const long = [[3, 65], [2, 255], [2, 256], [2, 257], [1, 1001], [70, 130], [1, 70001]];
for (const dtype of ["f32", "i32", "u32", "bool"] as const) {
  test(`argsort() of ${dtype} agrees with a stable sort of the host`, async () => {
    for (const [lines, n] of [...short, ...long]) {
      if (n > 70000 && dtype === "u32") continue;
      const values = valuesOf(dtype, lines * n, n);
      for (const descending of [false, true]) {
        const x = tensor(values, { shape: [lines, n], dtype });
        const got = await x.argsort({ descending }).data();
        for (let line = 0; line < lines; line++) {
          const [from, to] = [line * n, (line + 1) * n];
          assert.equal([...got.slice(from, to)], orderOf(values.slice(from, to), descending), `[${lines}, ${n}]`);
        }
      }
    }
  });
}

test("sort() and topK() along any axis are the values at argsort()", async () => {
  const x = tensor(noise(3 * 70 * 4, 2), { shape: [3, 70, 4] });
  for (const axis of [0, 1, -1]) {
    for (const descending of [false, true]) {
      const order = x.argsort({ axis, descending });
      const n = x.shape.at(axis)!;
      const [values, indices] = x.topK({ k: n - 1, axis, largest: descending });
      const wanted = vg.takeAlongAxis(x, order, { axis });
      assert.equal(await x.sort({ axis, descending }).data(), await wanted.data());
      assert.equal(await values.data(), await wanted.narrow({ axis, start: 0, length: n - 1 }).data());
      assert.equal(await indices.data(), await order.narrow({ axis, start: 0, length: n - 1 }).data());
    }
  }
});

test("sort() keeps every bit of its values, f16 too where the adapter has it", async () => {
  const values = Float32Array.of(1e-42, NaN, -0, 3e-45, 0, -1e-42);
  const sorted = (await tensor(values).sort().data()) as Float32Array;
  assert.equal([...new Uint32Array(sorted.buffer.slice(0, 20))], [
    ...new Uint32Array(Float32Array.of(-1e-42, -0, 0, 3e-45, 1e-42).buffer),
  ]);
  assert.ok(Number.isNaN(sorted[5]));
  const half = tensor([3, -1, 2], { dtype: "f16" }).sort({ descending: true });
  assert.is(half.dtype, "f16");
  if ((await vg.deviceInfo()).features.includes("shader-f16")) assert.equal([...(await half.data())], [3, 2, -1]);
});

test("sort() of sort() has the gradient of the identity on sorted values, at every order", async () => {
  const x = tensor(noise(130, 4));
  const third = vg.grad((a: vg.Tensor) => vg.grad((b: vg.Tensor) => b.sort().pow(4).sum())(a).sort().square().sum())(x);
  // The sum of squares of 4 x^3, whatever their order.
  const wanted = Array.from(await x.data(), (v) => 96 * v ** 5);
  (await third.data()).forEach((v, k) => assert.ok(Math.abs(v - wanted[k]) < 1e-4, `${v} for ${wanted[k]}`));
});

test("searchSorted() agrees with a search of the host", async () => {
  for (const [lines, n, m] of [[1, 1, 3], [1, 1000, 70], [4, 33, 65], [3, 0, 2]] as const) {
    for (const side of ["left", "right"] as const) {
      const sorted = Array.from({ length: lines }, (_, k) => {
        const line = valuesOf("f32", n, k + 9);
        return orderOf(line, false).map((place) => line[place]);
      });
      const values = valuesOf("f32", lines * m, 5);
      const above = (a: number, b: number): boolean =>
        Number.isNaN(a) ? !Number.isNaN(b) || side === "left" : side === "left" ? a >= b : a > b;
      const wanted = values.map((v, k) => {
        const line = sorted[Math.floor(k / m)];
        const place = line.findIndex((a) => Number.isNaN(v) ? side === "left" && Number.isNaN(a) : above(a, v));
        return place < 0 ? n : place;
      });
      const lists = vg.searchSorted(
        tensor(sorted.flat(), { shape: [lines, n] }),
        tensor(values, { shape: [lines, m] }),
        { side },
      );
      assert.equal([...(await lists.data())], wanted, `[${lines}, ${n}] ${side}`);
      if (lines > 1) continue;
      const flat = vg.searchSorted(tensor(sorted[0], { shape: [n] }), tensor(values), { side });
      assert.equal([...(await flat.data())], wanted);
    }
  }
});

test("topK(), searchSorted() and sort() refuse what does not fit", () => {
  const x = tensor([[1, 2, 3]]);
  refuses(() => x.topK({ k: 4 }), /^topK: k is an integer from 0 to 3, the size of axis 1, got 4$/);
  refuses(() => x.sort({ axis: 2 }), /^sort: axis 2 is out of range for a tensor of rank 2$/);
  refuses(() => tensor(1).argsort(), /^argsort: axis -1 is out of range for a tensor of rank 0$/);
  refuses(
    () => vg.searchSorted(x, tensor([1, 2])),
    /^searchSorted: the sorted tensor is a vector, or shares the leading axes of the values Tensor\(f32\[2\]\), got/,
  );
});

test.after(vg.closeDevice);
test.run();
