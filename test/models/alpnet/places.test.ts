/** Places of prototypes, priors of masks, chosen slices, copied masks: against loops and numbers by hand. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import { alpnet, copiedSegmenter, keepPainted, oneShotSegmenter } from "../../../models/mod.ts";
import type { OneShotOptions, SliceChoice } from "../../../models/mod.ts";
import { frameOf, priorLogOdds } from "../../../models/alpnet/prior.ts";
import {
  checkedAsked,
  checkedSettings,
  FEW_SHOT,
  fewShotOptions,
  type FewShotSettings,
  settingsWith,
} from "../../../models/alpnet/settings.ts";
import { supportGroups } from "../../../models/alpnet/slices.ts";
import { assertClose } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { refuses } from "../../helpers/refuse.ts";

test.after(() => vg.closeDevice());

const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k);
const total = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

test("alpnet.similarity() with places agrees with loops in float64, for several images and frames", async () => {
  const [S, C, H, W, h, w] = [2, 3, 6, 7, 5, 8];
  const support = noise(S * C * H * W, 1).map((v) => Math.fround(v + 0.2));
  const query = noise(2 * C * h * w, 2).map((v) => Math.fround(v + 0.2));
  const mask = Float32Array.from({ length: S * H * W }, (_, i) => Number(i % W > 2 + Math.floor(i / (H * W))));
  const frames = [[0, 0, 6, 7], [1, 0.5, 4, 5.5]];
  const frame = [0.5, 1, 4, 6];
  const [weight, sigma, temperature] = [0.7, 1.3, 9];
  /** Vectors of the windows and of the masks, with their places. */
  const wanted = range(S).flatMap((s) => {
    const at = (c: number, y: number, x: number): number => support[((s * C + c) * H + y) * W + x];
    const inMask = (y: number, x: number): number => mask[(s * H + y) * W + x];
    const relative = (y: number, x: number): number[] =>
      [0, 1].map((k) => ([y, x][k] - frames[s][k]) / frames[s][k + 2]);
    const pixels = range(H * W).map((i) => [Math.floor(i / W), i % W]);
    const mass = total(pixels.map(([y, x]) => inMask(y, x))) + 1e-5;
    const windows = range(3 * 3).flatMap((i) => {
      const cells = pixels.filter(([y, x]) => Math.floor(y / 2) === Math.floor(i / 3) && Math.floor(x / 2) === i % 3);
      if (total(cells.map(([y, x]) => inMask(y, x))) < 4) return [];
      return [{
        vector: range(C).map((c) => total(cells.map(([y, x]) => at(c, y, x))) / 4),
        place: relative(2 * Math.floor(i / 3) + 1, 2 * (i % 3) + 1),
      }];
    });
    const [down, across] = [0, 1].map((k) => total(pixels.map((p) => inMask(p[0], p[1]) * (p[k] + 0.5))) / mass);
    return [...windows, {
      vector: range(C).map((c) => total(pixels.map(([y, x]) => at(c, y, x) * inMask(y, x))) / mass),
      place: relative(down, across),
    }];
  });
  const length = (v: readonly number[]): number => Math.sqrt(total(v.map((x) => x * x)));
  const data = Float64Array.from({ length: 2 * h * w }, (_, i) => {
    const [n, y, x] = [Math.floor(i / (h * w)), Math.floor(i / w) % h, i % w];
    const q = range(C).map((c) => query[((n * C + c) * h + y) * w + x]);
    const scores = wanted.map(({ vector, place }) => {
      const apart = [0, 1].map((k) => [y, x][k] + 0.5 - frame[k] - place[k] * frame[k + 2]);
      const near = Math.exp(-(apart[0] ** 2 + apart[1] ** 2) / (2 * sigma * sigma)) - 1;
      return temperature * (total(vector.map((v, c) => v * q[c])) / length(vector) / length(q) + weight * near);
    });
    const e = scores.map((s) => Math.exp(s - Math.max(...scores)));
    return total(scores.map((s, k) => s * e[k])) / total(e);
  });
  const tensor = (values: ArrayLike<number>, shape: number[]) => vg.tensor(Float32Array.from(values), { shape });
  const found = alpnet.prototypes(tensor(support, [S, C, H, W]), tensor(mask, [S, H, W]), {
    window: 2,
    frames: tensor(frames.flat(), [S, 4]),
  });
  assert.is(found.windows, 18);
  // The frame is 6 wide, and the loops count pixels.
  const place = { weight, sigma: sigma / 6, frame: tensor(frame, [4]) };
  const got = alpnet.similarity(tensor(query, [2, C, h, w]), found, { temperature, place });
  await assertClose(got, { shape: [2, h, w], data }, 1e-5, "similarity");
  const without = alpnet.similarity(tensor(query, [2, C, h, w]), found, { temperature });
  const zero = alpnet.similarity(tensor(query, [2, C, h, w]), found, { temperature, place: { weight: 0, sigma: 1 } });
  await assertClose(zero, { shape: [2, h, w], data: Float64Array.from(await without.data()) }, 1e-5, "no weight");
  const f = vg.zeros([1, 3, 6, 8]);
  const one = alpnet.prototypes(f, vg.zeros([1, 6, 8]), { window: 2 });
  refuses(() => alpnet.similarity(f, one, { place: { weight: -1, sigma: 1 } }), /weight of place is a number >= 0/);
  refuses(() => alpnet.similarity(f, one, { place: { weight: 1, sigma: 0 } }), /sigma of place is a number > 0/);
  refuses(() => alpnet.prototypes(f, vg.zeros([1, 6, 8]), { frames: vg.zeros([2, 4]) }), /frames are f32 \[1, 4\]/);
});

/** A scan of slices of one pixel, labeled in some. */
const column = (labels: readonly number[]) => ({
  label: Uint8Array.from(labels),
  shape: [labels.length, 1, 1] as const,
});

test("supportGroups() gives each slice its part's middle slice, or the nearest labeled ones, of every support", () => {
  const first = column([0, 1, 1, 1, 1, 1, 1, 0]); // slices 1 to 6
  const told = (
    supports: readonly ReturnType<typeof column>[],
    query: { depth: number; range?: [number, number] },
    choice: SliceChoice,
  ) =>
    Object.fromEntries(
      supportGroups(supports, 1, query, choice).map((
        { chosen, zs },
      ) => [zs.join(), chosen.map(({ n, z }) => `${n}:${z}`).join()]),
    );
  assert.equal(told([first], { depth: 9, range: [0, 8] }, {}), { "0,1,2": "0:2", "3,4,5": "0:4", "6,7,8": "0:6" });
  assert.equal(told([first], { depth: 9, range: [2, 3] }, { chunks: 1 }), { "2,3": "0:4" });
  // Twelve slices for six: two each; the scan is as high as the support's class.
  const nearest = { slices: "nearest" } as const;
  assert.equal(told([first], { depth: 12, range: [0, 11] }, nearest), {
    "0,1": "0:1",
    "2,3": "0:2",
    "4,5": "0:3",
    "6,7": "0:4",
    "8,9": "0:5",
    "10,11": "0:6",
  });
  // Without a range the whole scans are as high as each other.
  assert.equal(told([first], { depth: 4 }, nearest), { "0": "0:1", "1": "0:2", "2": "0:4", "3": "0:6" });
  // Of what is painted here and there, the nearest two of each support.
  const painted = column([0, 1, 0, 0, 1, 0, 1, 0]);
  assert.equal(told([painted, first], { depth: 8 }, { ...nearest, nearest: 2 }), {
    "0,1,2": "0:1,0:4,1:1,1:2",
    "3": "0:1,0:4,1:2,1:3",
    "4": "0:4,0:6,1:3,1:4",
    "5": "0:4,0:6,1:4,1:5",
    "6,7": "0:4,0:6,1:5,1:6",
  });
  const every = supportGroups([painted], 1, { depth: 20 }, nearest).flatMap(({ zs }) => zs);
  assert.equal([...every].sort((a, b) => a - b), range(20), "every slice once");
});

test("priorLogOdds() blurs the mean of masks that frames move onto the slice", () => {
  const [h, w] = [9, 11];
  const box = (y0: number, x0: number, size: readonly [number, number]) =>
    Float32Array.from(
      { length: size[0] * size[1] },
      (_, i) => Number(Math.abs(Math.floor(i / size[1]) - y0) < 2 && Math.abs(i % size[1] - x0) < 2),
    );
  // The second support is the first, moved by (2, 1).
  const masks = [
    { mask: box(3, 4, [h, w]), size: [h, w], frame: [0, 0, h, w] },
    { mask: box(5, 5, [12, 14]), size: [12, 14], frame: [2, 1, h, w] },
  ] as const;
  const sigma = 1.2;
  const got = priorLogOdds(masks, { size: [h, w], frame: [0, 0, h, w], sigma });
  const weights = range(9).map((k) => Math.exp(-((k - 4) ** 2) / (2 * sigma * sigma)));
  const gauss = (d: number): number => (Math.abs(d) > 4 ? 0 : weights[d + 4] / total(weights));
  for (const i of range(h * w)) {
    const [y, x] = [Math.floor(i / w), i % w];
    const value = total(range(9).map((k) => gauss(y - 3 - Math.floor(k / 3) + 1) * gauss(x - 4 - (k % 3) + 1)));
    const p = Math.min(0.98, Math.max(0.02, value));
    assert.ok(Math.abs(got[i] - Math.log(p / (1 - p))) < 1e-5, `${y} ${x}: ${got[i]}`);
  }
  const body = new Float32Array(2 * 6 * 7);
  for (const y of [2, 3, 4]) for (const x of [1, 2, 3, 4]) body[42 + y * 7 + x] = 5;
  assert.equal(frameOf({ image: body, shape: [2, 6, 7] }, "body"), [2, 1, 3, 4]);
  assert.equal(frameOf({ image: body, shape: [2, 6, 7] }, "slice"), [0, 0, 6, 7]);
});

const plan = planFor({
  orientation: "RAS",
  spacing: [1, 1, 1],
  channels: [{ name: "MR", normalization: "none" }],
  labels: ["background", "one"],
});
/** A scan that is bright in a box, [z0, z1), [y0, y1), [x0, x1). */
function boxed(shape: imaging.Triple, box: readonly (readonly [number, number])[]) {
  const [X, Y] = shape;
  const inside = Uint8Array.from({ length: imaging.voxelCount(shape) }, (_, i) => {
    const place = [Math.floor(i / (X * Y)), Math.floor(i / X) % Y, i % X];
    return Number(place.every((n, k) => n >= box[k][0] && n < box[k][1]));
  });
  const volume = (data: imaging.VoxelData) =>
    imaging.makeVolume(data, { shape, affine: imaging.scaling([1, 1, 1]), name: "made" });
  return { image: volume(Float32Array.from(inside, (v) => 1 + 9 * v)), label: volume(inside) };
}
const supportOf = ({ image, label }: ReturnType<typeof boxed>) =>
  imaging.preprocessCase({ id: "support", image, label: { ...label, data: Uint8Array.from(label.data) } }, plan);

test("copiedSegmenter() moves masks of the support to the middle of slices, whatever the image shows", async () => {
  const support = await supportOf(boxed([8, 10, 6], [[1, 5], [2, 7], [3, 6]]));
  const { image } = boxed([12, 12, 6], [[0, 1], [0, 1], [0, 1]]);
  // 12 x 12 pixels for 8 x 10: the box moves by (1, 2). Slices are as high.
  const wanted = boxed([12, 12, 6], [[1, 5], [3, 8], [5, 8]]).label.data;
  const nearest = await copiedSegmenter({ plan, slices: "nearest" })(image, [support]);
  const area = 144;
  const inRange = (from: number, to: number) =>
    [...wanted].map((_, i) => {
      const z = Math.floor(i / area);
      return z >= from && z <= to ? wanted[area + (i % area)] : 0;
    });
  assert.equal([...nearest.data], inRange(0, 5), "outermost labeled slices stand for those beyond");
  const known = { ranges: new Map([[1, [2, 4] as const]]) };
  assert.equal([...(await copiedSegmenter({ plan })(image, [support], known)).data], inRange(2, 4));
});

/** Every pixel has the same features, so that only places and priors can tell. */
const blind = {
  config: { outputStride: 1 },
  apply: (_: unknown, x: vg.Tensor): vg.Tensor => vg.ones([x.shape[0], 2, ...x.shape.slice(2)]),
};

test("oneShotSegmenter() finds by places and by a prior what looks like everything else", async () => {
  const box = [[1, 5], [4, 8], [3, 6]] as const;
  const [support, { image, label }] = [await supportOf(boxed([9, 11, 6], box)), boxed([9, 11, 6], box)];
  const found = async (options: OneShotOptions) => {
    const segment = oneShotSegmenter(blind, {}, { plan, window: 1, slices: "nearest", nearest: 2, ...options });
    const { data } = await segment(image, [support], { ranges: new Map([[1, [1, 4] as const]]) });
    return imaging.compareLabels({ ...label, data }, label, { classes: [{ name: "one", values: [1] }] })[0].dice;
  };
  const nothing = await found({});
  const dice = {
    place: await found({ place: { weight: 0.5, sigma: 0.2 } }),
    prior: await found({ prior: 0.1 }),
    body: await found({ place: { weight: 0.5, sigma: 0.4 }, prior: 0.1, frame: "body" }),
  };
  assert.ok(!(nothing > 0.5), `without: ${nothing}`);
  // The blurred mask loses its corners.
  assert.ok(dice.place > 0.9 && dice.prior > 0.75 && dice.body > 0.9, JSON.stringify(dice));
});

test("oneShotSegmenter() tells how many local prototypes of the class are in use", async () => {
  const support = await supportOf(boxed([8, 8, 6], [[1, 5], [2, 6], [2, 4]]));
  const { image } = boxed([8, 8, 6], [[1, 5], [2, 6], [2, 4]]);
  const used = async (options: OneShotOptions) => {
    const uses: unknown[] = [];
    const segment = oneShotSegmenter(blind, {}, { plan, chunks: 1, ...options });
    await segment(image, [support], { onPrototypes: (use) => void uses.push(use) });
    return uses;
  };
  // Two pixels wide and four high from an even place: two windows of 2 x 2, none of 4 x 4.
  assert.equal(await used({ window: 2 }), [{ sets: 1, local: 1, windows: 16, used: 2 }]);
  assert.equal(await used({ window: 2, probe: 4 }), [{ sets: 1, local: 0, windows: 16, used: 0 }]);
  assert.equal(await used({ window: 4 }), [{ sets: 1, local: 0, windows: 4, used: 0 }]);
  assert.equal(await used({ foreground: "mask", background: "mask" }), []);
});

test("keepPainted() keeps a class as it was painted in slices that show it, along any axis", () => {
  const at = (data: readonly number[]) =>
    imaging.makeVolume(Uint8Array.from(data), { shape: [2, 2, 2], affine: imaging.scaling([1, 1, 1]), name: "made" });
  // Slices of z: class 1 painted in the first, with one voxel of class 2 found beside it.
  const [found, painted] = [at([1, 1, 2, 0, 1, 1, 0, 2]), at([0, 1, 0, 0, 0, 0, 0, 0])];
  assert.equal([...keepPainted(found, painted, { orientation: "RAS", transpose: [0, 1, 2] }).data], [
    ...[0, 1, 2, 0],
    ...[1, 1, 0, 2],
  ]);
  // Slices of x: the painted one is x = 1.
  assert.equal([...keepPainted(found, painted, { orientation: "RAS", transpose: [2, 0, 1] }).data], [
    ...[1, 1, 2, 0],
    ...[1, 0, 0, 2],
  ]);
});

test("fewShotOptions() has means in place of what has no local prototypes", () => {
  const of = (prototypes: FewShotSettings["prototypes"]) => {
    const { foreground, background } = fewShotOptions({ ...FEW_SHOT, prototypes });
    return [foreground, background];
  };
  assert.equal([of("alpnet"), of("panet")], [[undefined, undefined], ["mask", "mask"]]);
  assert.equal([of("foreground"), of("background")], [[undefined, "mask"], ["mask", undefined]]);
});

test("settingsWith() takes what is asked for, and files of before mean what they meant", () => {
  const stored = { window: 1, chunks: 2, prototypes: "alpnet", temperature: 10, rule: "code" };
  const own = checkedSettings(stored, "file");
  assert.equal(
    own,
    {
      ...stored,
      ...{ probe: 4, slices: "chunks", nearest: 1, place: 0, placeSigma: 0.15, prior: 0, frame: "slice" },
    } as typeof own,
  );
  const kept = { window: 0, probe: -1, chunks: 0, prototypes: "run", slices: "auto", nearest: 0, place: -1 } as const;
  assert.equal(settingsWith(own, { ...kept, placeSigma: 0, prior: -1, frame: "auto", aligned: false }), own);
  const asked = settingsWith(own, { aligned: true, nearest: 2, prior: 0, probe: 0 });
  assert.equal([asked.slices, asked.nearest, asked.prior, asked.probe], ["nearest", 2, 0, 0]);
  assert.ok(settingsWith(own, { aligned: true }).prior > 0);
  assert.is(settingsWith(asked, { slices: "largest" }).slices, "chunks");
  assert.equal(checkedAsked(own, { nearest: 3 }).nearest, 3, "only what a command line names is refused");
});

test.run();
