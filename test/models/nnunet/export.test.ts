/** exportNnunet(): names and numbers of checkpoints that PyTorch wrote, and the way back by openModel(). */
import { mkdtempSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, ones, random, readCheckpoint, saveTorch } from "../../../engine/mod.ts";
import { nnunetDataset, nnunetFromPlan, type Plan, planFromNnunet } from "../../../engine/imaging/mod.ts";
import { type LoadedModel, loadModel, type Postprocessing, saveModel } from "../../../engine/train/mod.ts";
import { architectureOf, networkFromPlan, openModel } from "../../../models/mod.ts";
import { exportNnunet } from "../../../models/nnunet/export.ts";
import { ownWeights } from "../../../models/nnunet/weights.ts";
import { planFor } from "../../helpers/plans.ts";
import { smallModel } from "../open/small_models.ts";

const golden = fileURLToPath(new URL("../../golden/nnunet/", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "voxgrad-nnunet-"));
test.after(() => rm(root, { recursive: true }));
test.after(closeDevice);

/** A model as it is read from a file. */
const loadedOf = (plan: Plan, tensors: LoadedModel["tensors"]): LoadedModel => ({
  description: {
    format: "voxgrad model 1",
    network: plan.network.name,
    architecture: architectureOf(plan),
    plan,
  },
  tensors,
  file: "model.safetensors",
});
const message = (work: () => unknown): Promise<string> =>
  (async () => await work())().then(String, (e: Error) => e.message);

test("exportNnunet() writes every name, shape and number that PyTorch's state dict has", async () => {
  for (
    const [folder, name, configuration] of [
      ["Dataset901_Small/nnUNetTrainer__nnUNetPlans__2d", "checkpoint_final", "2d"],
      ["Dataset902_Regions/nnUNetTrainer__nnUNetResEncUNetMPlans__3d_fullres", "checkpoint_best", "3d_fullres"],
    ]
  ) {
    const json = (file: string) => JSON.parse(readFileSync(`${golden}${folder}/${file}`, "utf8"));
    const plan = planFromNnunet(json("plans.json"), nnunetDataset(json("dataset.json"), "dataset.json"), {
      configuration,
      file: "plans.json",
    });
    const wanted = await readCheckpoint(`${golden}${folder}/fold_0/${name}.pth`);
    const own = await ownWeights(wanted.tensors, configuration === "2d");
    const files = await exportNnunet(new Map([["0", loadedOf(plan, own)]]), { mirror: "xyz" });
    const got = await readCheckpoint(files.get("fold_0/checkpoint_final.pth")!);
    assert.equal([...got.tensors.keys()].sort(), [...wanted.tensors.keys()].sort());
    for (const [key, t] of wanted.tensors) {
      assert.equal(got.tensors.get(key)!.shape, t.shape, key);
      assert.equal(await got.tensors.get(key)!.data(), await t.data(), key);
    }
    const axes = configuration === "2d" ? [0, 1] : [0, 1, 2];
    assert.equal(got.entry("inference_allowed_mirroring_axes"), axes);
    const { architecture, ...rest } = JSON.parse(new TextDecoder().decode(files.get("plans.json")))
      .configurations[configuration];
    const before = json("plans.json").configurations[configuration];
    assert.equal(architecture, before.architecture);
    for (const key of ["patch_size", "spacing", "normalization_schemes", "use_mask_for_norm", "batch_size"]) {
      assert.equal(rest[key], before[key], key);
    }
    for (const what of ["data", "seg", "probabilities"]) {
      assert.equal(rest[`resampling_fn_${what}_kwargs`], before[`resampling_fn_${what}_kwargs`]);
    }
  }
});

test("planFromNnunet() of nnunetFromPlan() is the plan", () => {
  const regions = [{ name: "whole", values: [1, 2], value: 1 }, { name: "core", values: [2], value: 2 }];
  const flat: Partial<Plan> = {
    configuration: "2d",
    patch: [1, 16, 8],
    network: { ...planFor({}).network, kernels: [[1, 3, 3], [1, 3, 3]], strides: [[1, 1, 1], [1, 2, 2]] },
  };
  const ct = { name: "CT", normalization: "ct", mean: 3, deviation: 2, low: -1000, high: 400 } as const;
  const scans = (["z-score in mask", "rescale", "rgb", "none"] as const).map((normalization) => ({
    name: normalization,
    normalization,
  }));
  const resampling = { image: 3, label: 1, separateAxis: 0, anisotropy: 3 } as const;
  for (
    const changes of [
      { channels: [ct, ...scans], orientation: "RAS", transpose: [2, 0, 1], spacing: [3, 1, 0.5] },
      { labels: ["background", "label 1", "core"], regions, ignoreLabel: 3 },
      { ...flat, spacing: [1, 0.7, 0.9] },
      { resampling: { ...resampling, anisotropy: 1e9 } },
      { resampling: { ...resampling, anisotropy: 2.5, separateAxis: 1 } },
    ] as Partial<Plan>[]
  ) {
    const plan = planFor({ dataset: "Dataset001_Test", ...changes });
    const { plans, dataset } = nnunetFromPlan(plan, "plan");
    const file = "plans.json";
    const back = planFromNnunet(plans, nnunetDataset(dataset, file), { configuration: plan.configuration, file });
    const { relativeSizeAfterCrop: _, ...fingerprint } = plan.fingerprint;
    assert.equal(back, { ...plan, fingerprint });
  }
});

test("exportNnunet() is opened by openModel() with the same labels, folds and rule", async () => {
  const { plan: own, image } = await smallModel();
  const plan = { ...own, dataset: "Dataset001_Test" };
  const rule: Postprocessing = {
    format: "voxgrad postprocessing 1",
    keepLargest: [{ name: "all", values: [1, 2] }, { name: "b", values: [2] }],
    cases: 1,
    dice: [],
  };
  const folds = new Map<string, LoadedModel>();
  const folder = join(root, "nnUNetTrainer__nnUNetPlans__3d_fullres");
  const sources: Uint8Array[] = [];
  for (const fold of [0, 1]) {
    const params = networkFromPlan(plan).init(random.key(3 + fold));
    sources.push(await saveModel(params, { network: plan.network.name, architecture: architectureOf(plan), plan }));
    folds.set(`${fold}`, await loadModel(sources[fold]));
  }
  for (const [name, bytes] of await exportNnunet(folds, { mirror: "x", rule })) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
  const [before, after] = [await openModel(sources, { mirror: "x" }), await openModel(folder)];
  assert.equal(after.postprocessing!.keepLargest.map(({ values }) => values), [[1, 2], [2]]);
  const bare = await openModel(folder, { postprocess: false });
  assert.is(bare.mirror, "x");
  assert.equal((await bare.segment(image)).labels.data, (await before.segment(image)).labels.data);
  for (const model of [before, after, bare]) model.dispose();
});

test("exportNnunet() refuses what nnU-Net does not have", async () => {
  const plan = planFor({ dataset: "Dataset001_Test" });
  const refused = async (changes: Partial<Plan>, wanted: RegExp): Promise<void> => {
    const one = loadedOf({ ...plan, ...changes }, new Map());
    assert.match(await message(() => exportNnunet(new Map([["0", one]]))), wanted);
  };
  await refused({ network: { ...plan.network, name: "segResNet" } }, /nnU-Net has no network "segResNet"/);
  await refused({ previousStage: "3d_lowres" }, /a stage of a cascade is not exported/);
  await refused({ ignoreLabel: 7 }, /ignoreLabel is 7; nnU-Net wants the value above all labels, 2/);
  const channels = [{ name: "T1", normalization: "rescale", quantiles: [0.05, 0.95] }] as const;
  await refused({ channels }, /channel T1 is scaled by quantiles/);
  const other = loadedOf(plan, new Map());
  const colab = { ...other, description: { ...other.description, network: "contextUNet" } };
  assert.match(await message(() => exportNnunet(new Map([["0", colab]]))), /its network is contextUNet, which nnU-Net/);
});

test("saveTorch() writes pickles by the opcodes of pickletools, and each tensor once", async () => {
  const shared = ones([2, 3]);
  const bytes = await saveTorch({ a: 1, b: [true, null, 0.5, "x"], t: shared, u: shared });
  const text = Array.from(bytes, (b) => String.fromCharCode(b)).join("");
  const start = "\x80\x02}(X\x01\0\0\0aJ\x01\0\0\0X\x01\0\0\0b](\x88NG\x3f\xe0\0\0\0\0\0\0X\x01\0\0\0xeX\x01\0\0\0t";
  const tensor = "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000" +
    "X\x03\0\0\0cpuJ\x06\0\0\0tQJ\0\0\0\0(J\x02\0\0\0J\x03\0\0\0t(J\x03\0\0\0J\x01\0\0\0t\x89" +
    "ccollections\nOrderedDict\n)RtR";
  assert.ok(text.includes(`${start}${tensor}X\x01\0\0\0u${tensor}u.`));
  assert.is(text.split("archive/data/0").length, 3, "named in the archive and its directory");
  assert.not(text.includes("archive/data/1"));
  const again = await saveTorch({ a: 1, b: [true, null, 0.5, "x"], t: shared, u: shared });
  assert.equal(again, bytes, "the same bytes");
  assert.match(await message(() => saveTorch({ a: undefined as never })), /pickle: it writes numbers, text/);
});

test.run();
