// Vectors of half-precision numbers, against the conversion of single ones.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromHalf, toHalf } from "../../../engine/core/dtype.ts";
import { fromHalves, toHalves } from "../../../engine/train/ranks/halves.ts";

test("fromHalves() and toHalves() keep all half-precision numbers", () => {
  const halves = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);
  const values = fromHalves(halves);
  toHalves(values).forEach((bits, k) => {
    const wanted = Number.isNaN(values[k]) ? 0x7e00 : k;
    assert.is(bits, wanted);
    assert.ok(Object.is(values[k], fromHalf(k)));
  });
  assert.equal(fromHalves(new Uint16Array(0)), new Float32Array(0));
});

test("toHalves() rounds as toHalf(): middles, their neighbors, and what is too large or too small", () => {
  const values: number[] = [0, -0, NaN, Infinity, -Infinity, 1e-30, -1e-45, 3.4e38, 65519.996, 65520, -65520];
  for (let bits = 0; bits < 0x7c00; bits += 1) {
    const middle = (fromHalf(bits) + (bits === 0x7bff ? 65536 : fromHalf(bits + 1))) / 2;
    values.push(middle, middle * (1 + 2 ** -20), middle * (1 - 2 ** -20), -middle);
  }
  const vector = Float32Array.from(values);
  toHalves(vector).forEach((bits, k) => assert.is(bits, toHalf(vector[k]), `${vector[k]}`));
});

test("toHalves() takes a part of a larger vector", () => {
  assert.equal([...toHalves(new Float32Array([1, 2, 3]).subarray(1, 2))], [0x4000]);
});

test.run();
