/** Noise, blur, low resolution, brightness, contrast and gamma, against float64 loops. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { random } from "../../../engine/mod.ts";
import { augment } from "../../../engine/imaging/mod.ts";
import { at, drawn, made, places, replaced } from "../../helpers/augment_helpers.ts";
import { assertClose } from "../../helpers/compare.ts";

test("noise() has the deviation drawn, the same in all channels, and only where drawn", async () => {
  const shape = [6, 2, 20, 20, 20];
  const image = made(shape);
  const key = random.key(8);
  const out = augment.noise(key, { image }, { p: 0.5, deviation: [0.1, 0.4] });
  const u = await drawn(random.split(key)[0], [2, 6]);
  const [before, after] = [await image.data(), await out.image.data()];
  for (let n = 0; n < 6; n++) {
    const added = Array.from({ length: 16000 }, (_, i) => after[n * 16000 + i] - before[n * 16000 + i]);
    if (u[0][n] >= 0.5) {
      assert.ok(added.every((v) => v === 0));
      continue;
    }
    const mean = added.reduce((a, b) => a + b) / 16000;
    const deviation = Math.sqrt(added.reduce((a, b) => a + b * b, 0) / 16000);
    const wanted = 0.1 + 0.3 * u[1][n];
    // 8,000 independent numbers: five deviations of their mean and of their deviation.
    assert.ok(Math.abs(mean) < (5 * wanted) / Math.sqrt(8000), `mean ${mean}`);
    assert.ok(Math.abs(deviation / wanted - 1) < 5 / Math.sqrt(16000), `deviation ${deviation}, wanted ${wanted}`);
    for (let i = 0; i < 8000; i++) assert.ok(Math.abs(added[i] - added[i + 8000]) < 1e-6);
  }
});

test("blur() is a Gaussian convolution with reflected borders", async () => {
  const shape = [3, 2, 5, 7, 6];
  const image = made(shape);
  const key = random.key(23);
  const got = augment.blur(key, { image }, { p: 0.6, perChannel: 0.7, sigma: [0.5, 1.2] });
  const u = await drawn(key, [5, 3, 2]);
  let values = Float64Array.from(await image.data());
  const blurred = (n: number, c: number): boolean => u[0][n * 2] < 0.6 && u[1][n * 2 + c] < 0.7;
  for (let axis = 0; axis < 3; axis++) {
    const size = shape[axis + 2];
    const next = values.slice();
    for (const place of places(shape)) {
      const [n, c] = place;
      if (!blurred(n, c)) continue;
      const sigma = 0.5 + 0.7 * u[2 + axis][n * 2 + c];
      let [sum, weights] = [0, 0];
      for (let d = -4; d <= 4; d++) {
        let v = place[axis + 2] + d;
        while (v < 0 || v >= size) v = v < 0 ? -v : 2 * (size - 1) - v;
        const weight = Math.exp((-d * d) / (2 * sigma * sigma));
        sum += weight * values[at(shape, replaced(place, axis + 2, v))];
        weights += weight;
      }
      next[at(shape, place)] = sum / weights;
    }
    values = next;
  }
  assert.ok(
    [0, 1, 2].some((n) => blurred(n, 0) !== blurred(n, 1)),
    "channels differ",
  );
  await assertClose(got.image, { shape, data: values }, 1e-6, "blur");
});

/** Weights of a coarse line of `count` voxels at `place`. */
function interpolation(place: number, count: number, mode: "linear" | "cubic"): [number, number][] {
  const inside = (v: number): number => Math.min(count - 1, Math.max(0, v));
  if (mode === "linear") {
    const p = Math.max(0, place);
    return [0, 1].map((k) => [inside(Math.floor(p) + k), k === 1 ? p - Math.floor(p) : 1 - (p - Math.floor(p))]);
  }
  const kernel = (d: number): number =>
    d <= 1 ? 1.25 * d ** 3 - 2.25 * d ** 2 + 1 : -0.75 * (d ** 3 - 5 * d ** 2 + 8 * d - 4);
  return [-1, 0, 1, 2].map((k) => {
    const v = Math.floor(place) + k;
    return [inside(v), kernel(Math.abs(place - v))];
  });
}

for (const mode of ["linear", "cubic"] as const) {
  for (const inPlane of [false, true]) {
    test(`lowResolution() interpolates nearest voxels: ${mode}${inPlane ? ", in plane" : ""}`, async () => {
      const shape = [3, 2, 5, 8, 7];
      const image = made(shape);
      const key = random.key(33);
      const got = augment.lowResolution(key, { image }, { p: 0.8, perChannel: 0.6, scale: [0.4, 0.9], mode, inPlane });
      const u = await drawn(key, [3, 3, 2]);
      let values = Float64Array.from(await image.data());
      for (let axis = inPlane ? 1 : 0; axis < 3; axis++) {
        const n = shape[axis + 2];
        const next = values.slice();
        for (const place of places(shape)) {
          const channel = place[0] * 2 + place[1];
          if (!(u[0][place[0] * 2] < 0.8 && u[1][channel] < 0.6)) continue;
          const size = Math.round(n * (0.4 + 0.5 * u[2][channel]));
          const taps = interpolation(((place[axis + 2] + 0.5) * size) / n - 0.5, size, mode);
          next[at(shape, place)] = taps.reduce((sum, [v, weight]) => {
            const nearest = Math.floor(((v + 0.5) * n) / size);
            return sum + weight * values[at(shape, replaced(place, axis + 2, nearest))];
          }, 0);
        }
        values = next;
      }
      await assertClose(got.image, { shape, data: values }, 3e-6, mode);
      assert.not.equal([...values], [...(await image.data())]);
    });
  }
}

test("brightness(), contrast() and gamma() as loops in float64", async () => {
  const shape = [5, 2, 4, 5, 6];
  const image = made(shape, 3);
  const values = await image.data();
  const key = random.key(17);
  const u = await drawn(key, [3, 5, 2]);
  const factor = (channel: number, [low, high]: readonly number[]): number =>
    u[1][channel] < 0.5 ? low + (1 - low) * u[2][channel] : 1 + (high - 1) * u[2][channel];
  const each = (p: number, f: (x: number[], channel: number) => number[]): number[] =>
    Array.from({ length: 10 }, (_, channel) => {
      const x = [...values.slice(channel * 120, (channel + 1) * 120)];
      return u[0][channel - (channel % 2)] < p ? f(x, channel) : x;
    }).flat();
  const mean = (x: number[]): number => x.reduce((a, b) => a + b) / x.length;
  const deviation = (x: number[]): number => Math.sqrt(mean(x.map((v) => (v - mean(x)) ** 2)));
  const range = [0.75, 1.25] as const;
  const bright = each(0.5, (x, c) => x.map((v) => v * factor(c, range)));
  await assertClose(
    augment.brightness(key, { image }, { p: 0.5, factor: range }).image,
    { shape, data: bright },
    1e-6,
    "brightness",
  );
  const contrasted = each(0.5, (x, c) => {
    const m = mean(x);
    return x.map((v) => Math.min(Math.max(...x), Math.max(Math.min(...x), (v - m) * factor(c, range) + m)));
  });
  await assertClose(
    augment.contrast(key, { image }, { p: 0.5, factor: range }).image,
    { shape, data: contrasted },
    1e-6,
    "contrast",
  );
  for (const [invert, keep] of [[false, "moments"], [true, "moments"], [false, "range"], [true, "range"]] as const) {
    const raised = each(0.5, (x, c) => {
      const sign = invert ? -1 : 1;
      const y = x.map((v) => sign * v);
      const [low, high] = [Math.min(...y), Math.max(...y)];
      const z = y.map((v) => ((v - low) / (high - low)) ** factor(c, [0.7, 1.5]) * (high - low) + low);
      if (keep === "range") return z.map((v) => sign * v);
      return z.map((v) => sign * (((v - mean(z)) / deviation(z)) * deviation(y) + mean(y)));
    });
    const got = augment.gamma(key, { image }, { p: 0.5, gamma: [0.7, 1.5], invert, keep }).image;
    await assertClose(got, { shape, data: raised }, 3e-6, `gamma, invert ${invert}, keep ${keep}`);
  }
});

test.run();
