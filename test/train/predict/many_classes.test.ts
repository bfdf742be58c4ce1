/**
 * Networks of many classes: their last layer, applied to averages of what it takes, gives what averages of its logits
 * give, in less memory.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, conv3d, random, type Tensor, tree } from "../../../engine/mod.ts";
import { makeVolume, type Volume } from "../../../engine/imaging/mod.ts";
import { type Member, predictor, type SegmentOptions } from "../../../engine/train/mod.ts";
import { applyHead, headOf } from "../../../engine/train/predict/head.ts";
import { plainConvUNet, segResNet } from "../../../models/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";

const classes = 21;
const sizes = { inputChannels: 1, features: [4, 6], kernels: 3, strides: [1, 2], convsPerStage: 1, classes };
const unet = plainConvUNet({ ...sizes, deepSupervision: true });
const labels = Array.from({ length: classes }, (_, k) => `label ${k}`);
const plan = planFor({ labels, spacing: [1.3, 1, 0.8], orientation: "RAS", transpose: [1, 0, 2] });
const scan = (depth: number): Volume =>
  makeVolume(Float32Array.from(noise(19 * 11 * depth, 1)), {
    shape: [19, 11, depth],
    affine: [-1, 0, 0, 4, 0, 1, 0, 5, 0, 0, 1, 6, 0, 0, 0, 1],
    name: "scan",
  });
// Biases and scales that are not those of the start.
const params = [1, 2, 3].map((seed) => {
  let k = 0;
  const own = unet.init(random.key(seed));
  return tree.map(own, (p: Tensor) => p.add(random.normal(random.key(100 * seed + k++), { shape: p.shape }).mul(0.1)));
});

/** The same task with logits, and with one plane of them at most. */
async function both(members: readonly Member[], options: SegmentOptions = {}, probabilities = false) {
  const image = scan(14);
  const run = async (logitMemory?: number) => {
    const { predict, memory, dispose } = predictor(members, { ...options, ...(logitMemory && { logitMemory }) });
    const result = { ...await predict(image, { probabilities }), memory: await memory(image) };
    void dispose;
    return result;
  };
  return [await run(), await run(1)] as const;
}
const differing = (a: Volume, b: Volume): number => {
  let count = 0;
  a.data.forEach((value, k) => count += Number(value !== b.data[k]));
  return count;
};

test("headOf() finds the convolution of single voxels that ends a network", () => {
  const x = random.normal(random.key(0), { shape: [1, 1, 8, 8, 8] });
  const [finest] = unet.apply(params[0], x) as Tensor[];
  const head = headOf(finest)!;
  assert.equal([...head.features.shape], [1, 4, 8, 8, 8]);
  assert.equal([...applyHead(head.features, head).shape], [1, classes, 8, 8, 8]);
  const other = segResNet({ inputChannels: 1, features: [4, 4], classes, groups: 2 });
  assert.is(headOf(other.apply(other.init(random.key(1)), x) as Tensor)!.features.shape[1], 4);
  const w = random.normal(random.key(2), { shape: [3, 1, 3, 3, 3] });
  assert.is(headOf(conv3d(x, w, { padding: 1 })), undefined, "a kernel of neighbors");
  assert.is(headOf(finest.softmax({ axis: 1 })), undefined, "another operator");
  const one = random.normal(random.key(2), { shape: [3, 1, 1, 1, 1] });
  assert.is(headOf(conv3d(x, one, { stride: 2 })), undefined, "a stride");
  assert.is(
    headOf(conv3d(finest, random.normal(random.key(3), { shape: [21, 1, 1, 1, 1] }), { groups: 21 })),
    undefined,
  );
});

for (
  const [what, count, options] of [
    ["one training", 1, {}],
    ["mirror images", 1, { mirror: [0, 2] }],
    ["several trainings", 3, { mirror: [1] }],
    ["batches", 1, { batch: 3 }],
  ] as const
) {
  test(`predictor() labels alike with its last layer apart: ${what}`, async () => {
    const [whole, apart] = await both([{ network: unet, params: params.slice(0, count), plan }], options);
    assert.ok(new Set(whole.labels.data).size > 6, "labels of many classes");
    // Classes that are equal to rounding: none here.
    assert.is(differing(whole.labels, apart.labels), 0);
    assert.ok(apart.memory.host < whole.memory.host, `${apart.memory.host} of ${whole.memory.host}`);
  });
}

test("predictor() gives probabilities, ensembles and regions with its last layer apart", async () => {
  const member = { network: unet, params: params.slice(0, 1), plan };
  const other = { ...member, params: params.slice(1, 2), plan: { ...plan, dataset: "other" } };
  const regions = labels.map((name, k) => ({ name, values: [k], value: Math.max(1, k) }));
  for (const members of [[member, other], [{ ...member, plan: { ...plan, regions } }]]) {
    const [whole, apart] = await both(members, {}, true);
    assert.is(differing(whole.labels, apart.labels), 0);
    const [a, b] = [whole.probabilities!.data, apart.probabilities!.data];
    assert.is(a.length, b.length);
    assert.ok(a.every((p, k) => Math.abs(p - b[k]) < 1e-5));
  }
});

test("predictor() keeps logits where the last layer cannot be apart, or gives fewer values than it takes", async () => {
  const soft = { apply: (p: object, x: Tensor) => (unet.apply(p as never, x) as Tensor[])[0].softmax({ axis: 1 }) };
  const few = plainConvUNet({ ...sizes, classes: 3, deepSupervision: false });
  const three = planFor({ labels: ["background", "a", "b"] });
  for (
    const member of [
      { network: soft, params: params.slice(0, 1), plan },
      { network: few, params: [few.init(random.key(4))], plan: three },
    ]
  ) {
    const [whole, apart] = await both([member]);
    assert.is(differing(whole.labels, apart.labels), 0);
    assert.is(apart.memory.host, whole.memory.host);
  }
});

test.after(() => closeDevice());
test.run();
