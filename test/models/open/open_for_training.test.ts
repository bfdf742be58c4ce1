/** Models of every kind, opened to be trained further: their weights, and what is refused. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random } from "../../../engine/mod.ts";
import { makeVolume } from "../../../engine/imaging/mod.ts";
import { saveModel } from "../../../engine/train/mod.ts";
import { architectureOf, networkFromPlan, openForTraining, openModel } from "../../../models/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { message } from "../../helpers/refuse.ts";

const golden = fileURLToPath(new URL("../../golden/", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "voxgrad-further-"));
test.after(async () => {
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

const plan = planFor({ labels: ["background", "a", "b"] });
const image = makeVolume(Float32Array.from(noise(9 * 8 * 11, 1)), {
  shape: [9, 8, 11],
  affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  name: "scan",
});
const own = (seed: number): Promise<Uint8Array> =>
  saveModel(networkFromPlan(plan).init(random.key(seed)), {
    network: plan.network.name,
    architecture: architectureOf(plan),
    plan,
  });

/** The labels of what is saved untrained, which are those of the model itself. */
async function assertSame(source: string | Uint8Array, options: { plan?: typeof plan } = {}): Promise<void> {
  const { params, description } = await openForTraining(source, options);
  const [first, again] = [await openModel(source, options), await openModel(await saveModel(params, description))];
  const [a, b] = [await first.segment(image), await again.segment(image)];
  assert.equal([...b.labels.data], [...a.labels.data]);
  assert.ok(new Set(a.labels.data).size > 1, "several labels");
  for (const model of [first, again]) model.dispose();
}

test("openForTraining() gives the weights of a model file, which saved again segments alike", async () => {
  await assertSame(await own(3));
});

test("openForTraining() gives those of an ONNX file, whose graph is the architecture", async () => {
  await assertSame(`${golden}onnx/nnunet.onnx`, { plan });
});

test("openForTraining() gives those of nnU-Net's checkpoint, and refuses the second stage of a cascade", async () => {
  const small = `${golden}nnunet/Dataset901_Small/nnUNetTrainer__nnUNetPlans__`;
  const file = `${small}3d_fullres/fold_0/checkpoint_final.pth`;
  const { params, description } = await openForTraining(file);
  const scan = [0, 1].map((c) => `${golden}nnunet/scans/case_000${c}.nii.gz`);
  const [theirs, ours] = [
    await openModel(file, { mirror: "none" }),
    await openModel(await saveModel(params, description)),
  ];
  const [a, b] = [await theirs.segment(scan), await ours.segment(scan)];
  assert.equal([...b.labels.data], [...a.labels.data]);
  for (const model of [theirs, ours]) model.dispose();
  const cascade = `${small}3d_cascade_fullres/fold_0`;
  assert.match(await message(() => openForTraining(cascade)), /second stages of cascades are not trained further/);
});

test("openForTraining() refuses several folds, and a plan beside one of its own", async () => {
  await writeFile(join(folder, "model.safetensors"), await own(1));
  for (const fold of [0, 1]) {
    await mkdir(join(folder, `cv/fold_${fold}`), { recursive: true });
    await writeFile(join(folder, `cv/fold_${fold}/model.safetensors`), await own(fold));
  }
  assert.match(
    await message(() => openForTraining(join(folder, "cv"))),
    /cv\/fold_0\/model.safetensors: one of 2 networks; name the one to train, such as a fold of the run$/,
  );
  assert.match(await message(() => openForTraining(folder, { plan })), /this model holds its own/);
});

test.run();
