/** Scans as slices for the screen and back, and label maps as supports, whose classes may be thin. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { Plan, Triple, Volume } from "../../../engine/imaging/mod.ts";
import * as train from "../../../engine/train/mod.ts";
import { planFor } from "../../helpers/plans.ts";
import { alpnet, loadOneShot, oneShotSegmenter, preparedRange, prepareSupport } from "../../../models/mod.ts";
import { sliceAxis } from "../../../models/alpnet/support.ts";
import { SMALL_ENCODER } from "../open/small_models.ts";

test.after(() => vg.closeDevice());

const AXES = ["RAS", "LPS", "PSL", "IRA", "SAL", "AIR"];

/** Voxels tell where in the patient they are: 1 to the right, 10 to the front, 100 to the head. */
function placed(shape: Triple, spacing: Triple, data: (r: number, a: number, s: number) => number): Volume {
  const values = Float32Array.from(
    { length: imaging.voxelCount(shape) },
    (_, i) => data(i % shape[0], Math.floor(i / shape[0]) % shape[1], Math.floor(i / (shape[0] * shape[1]))),
  );
  return imaging.makeVolume(values, { shape, affine: imaging.scaling(spacing), name: "scans/made" });
}

const planOf = (spacing: Triple, changes: Partial<Plan> = {}): Plan =>
  ({
    format: "voxgrad plan 1",
    dataset: "made",
    configuration: "3d_fullres",
    orientation: "RAS",
    transpose: [0, 1, 2],
    spacing,
    patch: [4, 8, 8],
    batch: 1,
    channels: [{ name: "MR", normalization: "none" }],
    labels: ["background", "one"],
    resampling: { image: 3, label: 1, separateAxis: 0, anisotropy: 3 },
    ...changes,
  }) as unknown as Plan;

test("sliceAxis() finds the encoder's slices in a volume of any axes", () => {
  const made = placed([3, 4, 5], [1, 1, 1], () => 1);
  const found = (axes: string, changes: Partial<Plan>) => {
    const { storage, patient } = sliceAxis(imaging.reorient(made, axes), planOf([1, 1, 1], changes));
    return `${storage} ${patient}`;
  };
  assert.equal(["RAS", "PSL", "IRA"].map((axes) => found(axes, {})), ["2 S", "1 S", "0 S"]);
  assert.equal(["RAS", "PSL", "IRA"].map((axes) => found(axes, { transpose: [1, 0, 2] })), ["1 A", "0 A", "2 A"]);
  assert.equal(["RAS", "PSL", "IRA"].map((axes) => found(axes, { orientation: "stored", transpose: [2, 0, 1] })), [
    "0 R",
    "0 A",
    "0 S",
  ]);
});

test("prepareSupport() keeps a class of one slice where the encoder's slices are further apart", async () => {
  // Nine slices 2 mm apart are three of 6 mm, in the middle of slices 1, 4 and 7.
  const image = placed([12, 13, 9], [1, 1, 2], (r, a, s) => 10 + r + a + s);
  const plan = planOf([6, 1, 1]);
  const labeled = (slices: Readonly<Record<number, number>>) =>
    placed([12, 13, 9], [1, 1, 2], (r, a, s) => (r > 2 && r < 8 && a > 3 && a < 9 ? (slices[s] ?? 0) : 0));
  const slicesOf = async (label: Volume, axes = "RAS") => {
    const turned = { image: imaging.reorient(image, axes), label: imaging.reorient(label, axes) };
    const { support, lost } = await prepareSupport({ id: "made", ...turned }, plan);
    assert.is(lost, undefined);
    const area = support.shape[1] * support.shape[2];
    return [0, 1, 2].map((z) => [...new Set(support.label.subarray(z * area, (z + 1) * area))].sort().join(""));
  };
  assert.equal(await slicesOf(labeled({ 4: 1 })), ["0", "01", "0"]);
  for (const axes of ["RAS", "PSL"]) {
    assert.equal(await slicesOf(labeled({ 0: 1 }), axes), ["01", "0", "0"], axes);
    assert.equal(await slicesOf(labeled({ 8: 3, 4: 1 }), axes), ["0", "01", "03"], axes);
  }
  // Where nothing is lost, nothing is changed.
  const whole = { 3: 1, 4: 1, 5: 1, 6: 1 };
  const { support } = await prepareSupport({ id: "made", image, label: labeled(whole) }, plan);
  const label = { ...labeled(whole), data: Uint8Array.from(labeled(whole).data) };
  assert.equal(support.label, (await imaging.preprocessCase({ id: "made", image, label }, plan)).label);
});

test("prepareSupport() tells what is lost, and refuses what are no labels of the scan", async () => {
  const image = placed([12, 13, 6], [1, 1, 2], () => 5);
  const dot = placed([12, 13, 6], [1, 1, 2], (r, a, s) => Number(r === 5 && a === 5 && s === 3));
  const { lost } = await prepareSupport({ id: "made", image, label: dot }, planOf([2, 4, 4]));
  assert.match(lost!, /scans\/made: nothing of class 1 is left .* voxels of 2 x 4 x 4 mm/);
  const refused = (label: Volume) =>
    prepareSupport({ id: "made", image, label }, planOf([2, 1, 1])).then(() => "", (error: Error) => error.message);
  assert.match(
    await refused({ ...dot, data: dot.data.map((v) => v / 2) as Float32Array<ArrayBuffer> }),
    /it holds 0\.5 .* not integers/,
  );
  assert.match(await refused(placed([12, 13, 5], [1, 1, 2], () => 1)), /its shape is 12 x 13 x 5/);
});

test("loadOneShot() follows what an encoder file says of its use, in every way to use it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-few-shot-"));
  try {
    const [first, second] = [5, 6].map((seed) =>
      imaging.organPhantomCase({ seed, shape: [32, 28, 16], spacing: [12, 12, 18], distinct: true })
    );
    const plan = planFor({
      orientation: "RAS",
      spacing: [36, 12, 12],
      channels: [{ name: "MR", normalization: "z-score" }],
      labels: [...imaging.ORGAN_PHANTOM_LABELS],
    });
    const architecture = SMALL_ENCODER;
    const model = alpnet.encoder(architecture);
    const params = model.init(vg.random.key(2));
    const description = { network: "alpnetEncoder", architecture, plan };
    const settings = { window: 1, chunks: 2, prototypes: "alpnet", temperature: 10, rule: "paper" } as const;
    const write = async (name: string, more: object) => {
      await mkdir(join(folder, name), { recursive: true });
      await writeFile(
        join(folder, name, "model.safetensors"),
        await train.saveModel(params, { ...description, ...more }),
      );
    };
    await write("run", { fewShot: settings });
    const { support } = await prepareSupport({ id: "first", image: first.image, label: first.label }, plan);
    const { prototypes: _, ...direct } = settings;
    const wanted = await oneShotSegmenter(model, params, { plan, ...direct })(second.image, [support]);
    const found = async (
      name: string,
      asked = {},
    ) => [...(await (await loadOneShot(join(folder, name), asked)).segment(second.image, [support])).data];
    assert.equal(await found("run"), [...wanted.data]);
    assert.equal(
      await found("run", { window: 0, chunks: 0, prototypes: "run" }),
      [...wanted.data],
      "0 and run: its own",
    );
    assert.not.equal(await found("run", { window: 2 }), [...wanted.data]);
    // Files from before say nothing; then the run's config does, also beside a fold's folder.
    await write("old/fold_1", {});
    const options = { testWindow: 1, chunks: 2, temperature: 10, rule: "paper", arm: "ssl-alpnet" };
    await writeFile(join(folder, "old/config.json"), JSON.stringify({ options }));
    assert.equal(await found("old/fold_1"), [...wanted.data]);
    await write("alone", {});
    const usual = await oneShotSegmenter(model, params, { plan })(second.image, [support]);
    assert.equal(await found("alone"), [...usual.data]);
    for (
      const [key, value] of [
        ["window", 0],
        ["window", "2"],
        ["chunks", 1.5],
        ["temperature", -1],
        ["rule", "toString"],
        ["prototypes", null],
      ] as const
    ) {
      await write("odd", { fewShot: { ...settings, [key]: value } });
      const message = await found("odd").then(() => "", (error: Error) => error.message);
      assert.match(message, new RegExp(`few-shot setting ${key} is`));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("preparedRange() finds slices as pictures count them in a scan of any axes and spacing", async () => {
  const made = placed([6, 5, 7], [1, 1, 3], (r, a, s) => 1 + r + a + s);
  for (const axes of AXES) {
    const image = imaging.reorient(made, axes);
    const range = async (
      spacing: Triple,
      ends: [number, number],
    ) => [...preparedRange({ id: "scan", ...(await imaging.preprocessImage(image, planOf(spacing))) }, ends)];
    // From the feet: slices 2 and 3 of 7.
    assert.equal(await range([3, 1, 1], [2, 3]), [1, 2], axes);
    assert.equal(await range([1.5, 1, 1], [2, 3]), [2, 5], axes);
    assert.equal(await range([3, 1, 1], [1, 7]), [0, 6], axes);
    for (const ends of [[3, 2], [1, 8]] as [number, number][]) {
      assert.match(
        await range([3, 1, 1], ends).then(() => "", (error: Error) => error.message),
        /--range: got \d to \d, and scan has slices 1 to 7/,
      );
    }
  }
});

test.run();
