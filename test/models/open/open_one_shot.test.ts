/** openModel of an encoder: what a labeled scan shows is found in others. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import { saveModel } from "../../../engine/train/mod.ts";
import { device } from "../../../engine/gpu/mod.ts";
import { alpnet, oneShotSegmenter, openModel, prepareSupport } from "../../../models/mod.ts";
import { planFor } from "../../helpers/plans.ts";
import { failure, message } from "../../helpers/refuse.ts";
import { SMALL_ENCODER } from "./small_models.ts";

test.after(vg.closeDevice);

const [first, second] = [5, 6].map((seed) =>
  imaging.organPhantomCase({ seed, shape: [32, 28, 16], spacing: [12, 12, 18], distinct: true })
);
const plan = planFor({
  orientation: "RAS",
  spacing: [36, 12, 12],
  channels: [{ name: "MR", normalization: "z-score" }],
  labels: [...imaging.ORGAN_PHANTOM_LABELS],
  fingerprint: { ...planFor({}).fingerprint, medianSpacing: [18, 12, 12] },
});
const architecture = SMALL_ENCODER;
const encoder = alpnet.encoder(architecture);
const params = encoder.init(vg.random.key(2));
const fewShot = { window: 1, chunks: 2, prototypes: "alpnet", temperature: 10, rule: "paper" } as const;
const file = await saveModel(params, { network: "alpnetEncoder", architecture, plan, fewShot });
const support = { image: first.image, labels: first.label };
const packed = {
  image: new Blob([imaging.writeNifti(first.image, { gzip: true })]),
  labels: imaging.writeNifti(first.label, { gzip: true }),
};

const { prototypes: _, ...own } = fewShot;
const prepared = await prepareSupport({ id: "first", image: first.image, label: first.label }, plan);
const wanted = await oneShotSegmenter(encoder, params, { plan, ...own })(second.image, [prepared.support]);

test("openModel() of an encoder finds in a scan what the support shows", async () => {
  const model = await openModel(file);
  assert.equal(model.labels, [{ name: "background", value: 0 }]);
  const steps: number[] = [];
  const { labels } = await model.segment(second.image, { support, onProgress: ({ done }) => void steps.push(done) });
  assert.equal([labels.data, labels.affine], [wanted.data, second.image.affine]);
  assert.ok(new Set(labels.data).size > 1);
  assert.equal(steps, Array.from({ length: steps.length }, (_, k) => k + 1));
  const scan = imaging.writeNifti(second.image, { gzip: true });
  assert.equal((await model.segment(scan, { support: [packed] })).labels.data, wanted.data);
  model.dispose();
  const twice = await openModel(file, { slices: "largest", chunks: 1 });
  const both = await twice.segment(second.image, { support: [support, packed] });
  assert.not.equal(both.labels.data, wanted.data);
  twice.dispose();
});

test("segment() of an encoder says how likely each class is, where it and the labels agree", async () => {
  const model = await openModel(file);
  const { labels, probabilities } = await model.segment(second.image, { support, probabilities: true });
  model.dispose();
  const count = labels.data.length;
  const values = [...new Set(first.label.data)].filter((value) => value > 0).sort((a, b) => a - b);
  assert.equal([probabilities!.channels, probabilities!.affine], [values.length, second.image.affine]);
  assert.ok(probabilities!.data.every((p) => p >= 0 && p <= 1));
  for (let i = 0; i < count; i++) {
    const own = values.map((_, k) => probabilities!.data[k * count + i]);
    const most = Math.max(...own);
    // Half is where a class is as likely as the background.
    if (Math.abs(most - 0.5) > 1e-5) assert.is(labels.data[i], most > 0.5 ? values[own.indexOf(most)] : 0);
  }
});

test("segment() of an encoder survives a lost device, ends by its signal, and frees all", async () => {
  await vg.closeDevice();
  const model = await openModel(file);
  let lost = false;
  const { labels } = await model.segment(second.image, {
    support,
    onProgress: ({ done }) => {
      if (done !== 2 || lost) return;
      lost = true;
      void device().then(({ gpu }) => gpu.destroy());
    },
  });
  assert.ok(lost);
  assert.equal(labels.data, wanted.data);
  const { live } = vg.memoryStats();
  for (let k = 0; k < 3; k++) {
    const controller = new AbortController();
    const onProgress = ({ done }: { done: number }) => void (done === 2 + k && controller.abort());
    const call = () => model.segment(second.image, { support, signal: controller.signal, onProgress });
    assert.is((await failure(call, DOMException)).name, "AbortError");
    assert.is(vg.memoryStats().live, live);
  }
  model.dispose();
  assert.is(vg.memoryStats().live, 0);
});

test("segment() of an encoder asks for a support, and refuses what it cannot do", async () => {
  const model = await openModel(file);
  assert.match(await message(() => model.segment(second.image)), /give \{ support: \{ image, labels \} \}/);
  assert.match(await message(() => model.segment(second.image, { support: [] })), /give \{ support/);
  const empty = { ...first.label, data: new Uint8Array(first.label.data.length) };
  assert.match(
    await message(() => model.segment(second.image, { support: { ...support, labels: empty } })),
    /show no class/,
  );
  const half = { ...first.label, data: Float32Array.from(first.label.data, (v) => v / 2) };
  assert.match(
    await message(() => model.segment(second.image, { support: { ...support, labels: half } })),
    /not integers/,
  );
  model.dispose();
  assert.match(await message(() => model.segment(second.image, { support })), /was disposed of/);
  assert.match(await message(() => openModel([file, file])), /data holds an encoder, .* is used alone/);
  assert.match(await message(() => openModel(file, { mirror: "x" })), /holds an encoder, .* takes no mirror/);
});

test.run();
