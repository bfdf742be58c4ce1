/** Figures of ConResNet: what their pictures hold, decoded, against plain loops over hand-made cases and networks. */
import { decode } from "fast-png";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, sigmoid, stack, type Tensor } from "../../../engine/mod.ts";
import { makeVolume, Prng, type Triple, voxelCount } from "../../../engine/imaging/mod.ts";
import { type MapTile, tilesSvg } from "../../../engine/train/mod.ts";
import { conresFeatures, conresFigures } from "../../../models/mod.ts";
import { residualPatch } from "../../../models/conresnet/figures.ts";
import type { ConResFigureNetwork } from "../../../models/mod.ts";
import { planFor } from "../../helpers/plans.ts";
import { checkSvg } from "../../helpers/svg.ts";

test.after(() => closeDevice());

/** Pictures of an SVG in order: row by row, [red, green, blue] of each pixel. */
function pictures(svg: string): number[][][][] {
  return [...svg.matchAll(/data:image\/png;base64,([^"]*)/g)].map(([, data]) => {
    const { width, height, data: bytes } = decode(Buffer.from(data, "base64"));
    return Array.from(
      { length: height },
      (_, r) =>
        Array.from({ length: width }, (_, c) => [...bytes.subarray(3 * (r * width + c), 3 * (r * width + c) + 3)]),
    );
  });
}
/** Bytes may be rounded either way. */
const near = (got: number[][][], wanted: (r: number, c: number) => number[]): void =>
  got.forEach((row, r) =>
    row.forEach((pixel, c) =>
      wanted(r, c).forEach((v, k) =>
        assert.ok(Math.abs(pixel[k] - v) <= 0.51, `row ${r}, column ${c}: ${pixel}, ${wanted(r, c)} wanted`)
      )
    )
  );
const noise = (length: number, seed: number): Float32Array<ArrayBuffer> => {
  const prng = new Prng(seed);
  return Float32Array.from({ length }, () => prng.normal());
};
// Okabe and Ito's orange, sky blue and purple, in the order of classes.
const COLORS = [[0xe6, 0x9f, 0x00], [0x56, 0xb4, 0xe9], [0xcc, 0x79, 0xa7]];
const [STOPS, LAST] = [[[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], 4];
const heat = (share: number): number[] => {
  const k = Math.min(LAST - 1, Math.floor(share * LAST));
  return STOPS[k].map((v, c) => v + (share * LAST - k) * (STOPS[k + 1][c] - v));
};

test("tilesSvg() shows values, colors and opacities voxel by voxel, turned as the patient lies", () => {
  const shape: Triple = [5, 4, 3];
  const values = noise(60, 1);
  const [a, b] = [noise(60, 2), noise(60, 3)].map((x) => x.map((v) => Math.min(1, Math.abs(v))));
  const mask = Uint8Array.from(values, (v) => Number(v > 0));
  const tiles = [{ values, range: [-1, 1] }, { values, range: [-1, 2], scale: "heat" }, { classes: [a, b] }, {
    values,
    range: [-1, 1],
    slice: 0,
  }] as const;
  const at = (x: number, y: number, z: number): number => (z * 4 + y) * 5 + x;
  const draw = (
    affine: number[],
    axis: 0 | 1 | 2,
    slice: number,
    columns = ["one", "two", "three", "four"],
  ): string => {
    const svg = tilesSvg([{
      name: "a < b",
      image: makeVolume(values, { shape, affine }),
      slice,
      tiles,
      outlines: [mask],
    }], { columns, axis, classes: ["c1", "c2"] });
    checkSvg(svg);
    return svg;
  };
  // x to the right, y to the front, z upwards: on the screen the right is left, the front on top.
  const svg = draw([1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1], 2, 1);
  const axial = (z: number) => (r: number, c: number): number => at(4 - c, 3 - r, z);
  const [gray, warm, classes, other] = pictures(svg);
  const clamped = (v: number): number => Math.min(1, Math.max(0, v));
  near(gray, (r, c) => new Array(3).fill(255 * clamped((values[axial(1)(r, c)] + 1) / 2)));
  near(other, (r, c) => new Array(3).fill(255 * clamped((values[axial(0)(r, c)] + 1) / 2)));
  near(warm, (r, c) => heat(clamped((values[axial(1)(r, c)] + 1) / 3)));
  near(classes, (r, c) =>
    [0, 1, 2].map((k) => {
      const i = axial(1)(r, c);
      return a[i] * COLORS[0][k] * (1 - b[i]) + b[i] * COLORS[1][k];
    }));
  assert.is(svg.match(/<path/g)!.length, 3, "outlines lie over maps, not over classes");
  assert.ok(
    svg.includes('stroke="#fff"') && svg.includes('stroke="#e69f00"') && svg.includes("a &#60; b") &&
      svg.includes(">c2<"),
  );
  // Slices along x, which here runs from head to foot, y to the patient's left, z to the back.
  const turned = draw(
    [0, 1, 0, 0, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0, 1].map((v, k) => (k === 1 || k === 6 ? -v : v)),
    0,
    3,
  );
  near(pictures(turned)[0], (r, c) => new Array(3).fill(255 * clamped((values[at(3, c, r)] + 1) / 2)));
});

test("tilesSvg() takes rows of other sizes, constant maps and none; what does not fit is refused", () => {
  const image = (shape: Triple) =>
    makeVolume(new Float32Array(voxelCount(shape)), {
      shape,
      affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
    });
  const row = (shape: Triple, tile?: Partial<MapTile>, slice = 0) => ({
    name: "n",
    image: image(shape),
    slice,
    tiles: [{ values: new Float32Array(voxelCount(shape)), ...tile }],
  });
  const svg = tilesSvg([row([1, 1, 1]), row([3, 2, 2])], { columns: ["one"] });
  checkSvg(svg);
  near(pictures(svg)[1], () => [127.5, 127.5, 127.5]);
  checkSvg(tilesSvg([], { columns: ["one"] }));
  assert.throws(
    () => tilesSvg([row([3, 2, 2], { values: [1] })], { columns: ["one"] }),
    /n: a map has 1 voxels, wanted 12/,
  );
  assert.throws(() => tilesSvg([row([3, 2, 2], {}, 2)], { columns: ["one"] }), /n: there is no slice 2 of 2/);
  assert.throws(() => tilesSvg([row([3, 2, 2], { slice: -1 })], { columns: ["one"] }), /there is no slice -1 of 2/);
});

test("residualPatch() finds the slice in which most voxels differ from the one before, along each axis", () => {
  const shape: Triple = [5, 7, 6];
  const prng = new Prng(4);
  const sets = [[1, 2], [2]];
  for (const [axis, name] of (["axial", "coronal", "sagittal"] as const).entries()) {
    // Label 3 is in no set.
    const label = Uint8Array.from({ length: 210 }, () => prng.integer(4));
    const at = (z: number, y: number, x: number): number => label[(z * 7 + y) * 6 + x];
    const found = Array.from({ length: shape[axis] }, (): number[][] => []);
    for (let z = 0; z < 5; z++) {
      for (let y = 0; y < 7; y++) {
        for (let x = 0; x < 6; x++) {
          const place = [z, y, x];
          if (place[axis] === 0) continue;
          const [now, then] = [
            at(z, y, x),
            at(...(place.map((v, k) => (k === axis ? v - 1 : v)) as [number, number, number])),
          ];
          if (sets.some((values) => values.includes(now) !== values.includes(then))) found[place[axis]].push(place);
        }
      }
    }
    const most = Math.max(...found.map((list) => list.length));
    const wanted = found.findIndex((list) => list.length === most);
    const got = residualPatch({ label, shape }, { patch: [3, 4, 9], axis: name, sets });
    assert.is(got.slice, wanted);
    const middle = [0, 1, 2].map((
      k,
    ) => (k === axis ? wanted : Math.round(found[wanted].reduce((sum, p) => sum + p[k], 0) / most)));
    assert.equal(got.start, [Math.min(2, Math.max(0, middle[0] - 1)), Math.min(3, Math.max(0, middle[1] - 2)), -1]);
  }
  const empty = residualPatch({ label: new Uint8Array(210), shape }, { patch: [3, 4, 9], axis: "coronal", sets });
  assert.equal(empty, { start: [1, 1, -1], slice: 3 });
});

// Every output is a plain function of the image's two channels.
const network = (title: string, mapping: boolean, attention: boolean, gain = 1): ConResFigureNetwork => {
  const channel = (x: Tensor, k: number): Tensor => x.slice({ start: [0, k], end: [1, k + 1] });
  const both = (x: Tensor, y: Tensor): Tensor =>
    stack([x, y], { axis: 1 }).reshape({ shape: [1, 2, ...x.shape.slice(2)] });
  return {
    title,
    params: {} as ConResFigureNetwork["params"],
    model: {
      config: { mapping, attention },
      apply: (_, x) => [x, ...(mapping ? [both(channel(x, 0), channel(x, 1).mul(3))] : [])],
      contextMaps: (_, x) => {
        const features = both(channel(x, 0), channel(x, 1).mul(gain));
        const gate = both(sigmoid(channel(x, 0)), sigmoid(channel(x, 1)));
        const coarse = (t: Tensor): Tensor => t.slice({ step: [1, 1, 3, 1, 1] });
        return [features, coarse(features)].map((own, k) => {
          const seen = k === 0 ? gate : coarse(gate);
          return { features: own, gated: attention ? own.mul(seen.add(1)) : own, attention: mapping ? seen : null };
        });
      },
    },
  };
};

const shape: Triple = [4, 5, 6];
const caseOf = (id: string, seed: number) => ({
  id,
  image: noise(240, seed),
  label: Uint8Array.from(noise(120, seed + 50), (v) => Number(v > 0) + Number(v > 0.8)),
  channels: 2,
  shape,
  spacing: [1, 1, 1] as const,
  foreground: [],
});
const options = {
  plan: planFor({
    patch: shape,
    channels: [{ name: "T1", normalization: "none" }, { name: "Flair", normalization: "none" }],
  }),
  axis: "axial" as const,
  regions: [{ name: "all", values: [1, 2] }, { name: "inner", values: [2] }],
  cases: [caseOf("p", 5), caseOf("q", 6)],
};
const logistic = (v: number): number => 1 / (1 + Math.exp(-v));
/** Voxel of the patch, which is the whole case, at a pixel of slice z. */
const voxel = (z: number) => (r: number, c: number): number => (z * 5 + 4 - r) * 6 + 5 - c;
/** Between the values at 0.5 % and 99.5 % of all, in order. */
const within = (all: number[]): (v: number) => number => {
  const sorted = [...all].sort((x, y) => x - y);
  const [low, high] = [0.005, 0.995].map((p) => sorted[Math.round(p * (all.length - 1))]);
  return (v) => Math.min(1, Math.max(0, (v - low) / (high - low)));
};
const channelOf = (
  item: { image: Float32Array },
  k: number,
): number[] => [...item.image.subarray(120 * k, 120 * (k + 1))];

test("conresFigures(): residuals, features and attention are those of the case's voxels", async () => {
  const figures = await conresFigures(network("", true, true), options);
  assert.equal(figures.map(({ name }) => name), ["residuals", "attention"]);
  figures.forEach(({ svg }) => checkSvg(svg));
  const [residuals, attention] = figures.map(({ svg }) => pictures(svg));
  assert.equal([residuals.length, attention.length], [8, 10]);
  for (const [n, item] of options.cases.entries()) {
    const { slice } = residualPatch(item, { patch: shape, axis: "axial", sets: [[1, 2], [2]] });
    const [t1, flair] = [channelOf(item, 0), channelOf(item, 1)];
    const [here, before] = [voxel(slice), voxel(slice - 1)];
    const gray = within(flair);
    near(residuals[4 * n], (r, c) => new Array(3).fill(255 * gray(flair[before(r, c)])));
    near(residuals[4 * n + 1], (r, c) => new Array(3).fill(255 * gray(flair[here(r, c)])));
    const over = (opacity: (region: number, i: number) => number) => (r: number, c: number): number[] =>
      [0, 1, 2].map((k) => [0, 1].reduce((v, region) => v + opacity(region, here(r, c)) * (COLORS[region][k] - v), 0));
    const inside = (region: number, i: number): boolean => options.regions[region].values.includes(item.label[i]);
    near(residuals[4 * n + 2], over((region, i) => Number(inside(region, i) !== inside(region, i - 30))));
    near(residuals[4 * n + 3], over((region, i) => logistic(region === 0 ? t1[i] : 3 * flair[i])));
    const gate = t1.map((v, i) => (logistic(v) + logistic(flair[i])) / 2);
    const sums = t1.map((v, i) => v + flair[i]);
    const gated = t1.map((v, i) => v * (1 + logistic(v)) + flair[i] * (1 + logistic(flair[i])));
    const [low, high] = [within(sums), within(gated)];
    near(attention[5 * n + 1], (r, c) => heat(low(sums[here(r, c)])));
    // The coarse module has slices 0 and 3; those between are interpolated.
    near(
      attention[5 * n + 2],
      (r, c) => heat(((3 - slice) * gate[voxel(0)(r, c)] + slice * gate[voxel(3)(r, c)]) / 3),
    );
    near(attention[5 * n + 3], (r, c) => heat(gate[here(r, c)]));
    near(attention[5 * n + 4], (r, c) => heat(high(gated[here(r, c)])));
    assert.ok(figures[0].svg.includes(`${item.id}, slice ${slice + 1} of 4`));
  }
  assert.ok(figures[1].svg.includes(">attention, 1/2<") && figures[1].svg.includes(">attention, full size<"));
});

test("conresFigures() shows what networks without attention or mapping have, and nothing without a case", async () => {
  const names = async (mapping: boolean): Promise<string[]> =>
    (await conresFigures(network("", mapping, false), options)).map(({ name }) => name);
  assert.equal([await names(true), await names(false)], [["residuals", "features"], ["features"]]);
  const [plain] = await conresFigures(network("", false, false), options);
  assert.is(pictures(plain.svg).length, 2 * options.cases.length, "the slice and its features");
  assert.equal(await conresFigures(network("", true, true), { ...options, cases: [] }), []);
  const figure = await conresFeatures([network("Base", false, false), network("More", true, false, -2)], options);
  checkSvg(figure.svg);
  assert.ok(figure.svg.includes(">Base<") && figure.svg.includes(">More<"));
  const shown = pictures(figure.svg);
  assert.is(shown.length, 6);
  for (const [n, item] of options.cases.entries()) {
    const { slice } = residualPatch(item, { patch: shape, axis: "axial", sets: [[1, 2], [2]] });
    for (const [k, gain] of [1, -2].entries()) {
      const sums = channelOf(item, 0).map((v, i) => v + gain * channelOf(item, 1)[i]);
      near(shown[3 * n + 1 + k], (r, c) => heat(within(sums)(sums[voxel(slice)(r, c)])));
    }
  }
});

test.run();
