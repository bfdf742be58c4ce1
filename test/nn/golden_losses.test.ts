/** Losses and batch norm against PyTorch 1.13 in float64: values, gradients, Hessian-vector products. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, crossEntropy, logSoftmax, nll, sigmoid, type Tensor, tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { near } from "../helpers/compare.ts";
import { goldenJson } from "../helpers/golden.ts";
import { type GoldenCase, goldenCases, wave } from "../helpers/reference/golden_cases.ts";
import { refuses } from "../helpers/refuse.ts";

const golden = goldenJson("losses");

const [p, t] = [wave([3, 5], 0), wave([3, 5], 1)];
const reductions = ["mean", "sum", "none"] as const;
/** Softmax of a wave, the first of them 0. */
const probabilities = (): Tensor => {
  const all = wave([3, 5], 1.5).softmax({ axis: 1 });
  return all.mul(tensor(Float32Array.from({ length: 15 }, (_, k) => Number(k > 0)), { shape: [3, 5] }));
};
const logits = wave([2, 4, 3, 5], 0, 3);
const labelsOf = (from: number): Tensor =>
  tensor(Int32Array.from({ length: 30 }, (_, k) => (k < from ? 255 : (7 * k + 3) % 4)), { shape: [2, 3, 5] });
const [labels, ignoring] = [labelsOf(0), labelsOf(3)];
const weight = [0.5, 1, 2, 0.25];
const all = { weight, ignoreIndex: 255 };
const above = (shape: readonly number[], bound: number): Tensor => wave(shape, 1).greater(bound).cast("f32");
const [a, b] = [wave([4, 6], 0), wave([4, 6], 1)];
const [volume, image] = [wave([1, 2, 4, 5, 6], 0, 2), wave([2, 1, 7, 6], 0, 2)];

/** A function of one tensor for each name in the file. */
const cases: Record<string, GoldenCase> = {
  ...Object.fromEntries(reductions.flatMap((reduction) => [
    [`mse ${reduction}`, [(x: Tensor) => nn.mse(x, t, { reduction }), p]],
    [`l1 ${reduction}`, [(x: Tensor) => nn.l1(x, t, { reduction }), p]],
    [`huber ${reduction}`, [(x: Tensor) => nn.huber(x, t, { reduction, delta: 0.4 }), p]],
    [`ce ${reduction}`, [(x: Tensor) => crossEntropy(x, labels, { reduction }), logits]],
    [
      `ce all ${reduction}`,
      [(x: Tensor) => crossEntropy(x, ignoring, { ...all, labelSmoothing: 0.1, reduction }), logits],
    ],
    [`nll ${reduction}`, [(x: Tensor) => nll(logSoftmax(x, { axis: 1 }), ignoring, { ...all, reduction }), logits]],
    [`ce soft ${reduction}`, [
      (x: Tensor) => {
        const soft = wave([2, 4, 3, 5], 4).softmax({ axis: 1 });
        return crossEntropy(x, soft, { weight, labelSmoothing: 0.2, reduction });
      },
      logits,
    ]],
  ])),
  ...Object.fromEntries((["mean", "sum", "none", "batchMean"] as const).map((reduction) => [
    `kl ${reduction.toLowerCase()}`,
    [
      (x: Tensor) => nn.klDivergence(logSoftmax(x, { axis: 1 }), probabilities(), { reduction }),
      wave([3, 5], 0.5),
    ] as const,
  ])),
  "kl log": [
    (x) => nn.klDivergence(logSoftmax(x, { axis: 1 }), logSoftmax(wave([3, 5], 1.5), { axis: 1 }), { logTarget: true }),
    wave([3, 5], 0.5),
  ],
  "ce smooth": [(x) => crossEntropy(x, labels, { labelSmoothing: 0.3 }), logits],
  hinge: [(x) => nn.hinge(x, t.sign()), wave([3, 5], 0, 2)],
  "focal 2": [(x) => nn.focal(x, labels), logits],
  "focal 1.5 alpha": [(x) => nn.focal(x, labels, { gamma: 1.5, alpha: weight }), logits],
  "binary focal": [(x) => nn.binaryFocalWithLogits(x, above([3, 5], 0)), wave([3, 5], 0, 2)],
  "binary focal null 3": [
    (x) => nn.binaryFocalWithLogits(x, above([3, 5], 0), { alpha: null, gamma: 3 }),
    wave([3, 5], 0, 2),
  ],
  tversky: [(x) => nn.tversky(x, labels, { alpha: 0.3, beta: 0.7 }), logits],
  "tversky focal": [(x) => nn.tversky(x, labels, { alpha: 0.3, beta: 0.7, gamma: 0.75, batch: true }), logits],
  ntxent: [(x) => nn.ntXent(x, b, { temperature: 0.3 }), a],
  infonce: [(x) => nn.infoNce(x, b), a],
  "cldice 3d": [(x) => nn.clDice(sigmoid(x), above([1, 2, 4, 5, 6], -0.2), { iterations: 2 }), volume],
  "cldice 2d": [(x) => nn.clDice(sigmoid(x), above([2, 1, 7, 6], -0.2)), image],
};

goldenCases("losses", cases);

test("softSkeleton() is that of the paper's algorithm in PyTorch", async () => {
  near(await nn.softSkeleton(sigmoid(image)).data(), golden["skeleton 2d"].value, 2e-6, "skeleton");
});

test("every case of the file of losses is tested", () => {
  assert.equal(Object.keys(golden).sort(), [...Object.keys(cases), "skeleton 2d", "batch norm"].sort());
});

test("runningBatchNorm() normalizes and updates its statistics as torch.nn.BatchNorm2d", async () => {
  const wanted = golden["batch norm"];
  const variance = wave([4], 4).square().add(0.1);
  const params = { weight: wave([4], 1), bias: wave([4], 2), running_mean: wave([4], 3), running_var: variance };
  near(await nn.runningBatchNorm(params, logits).output.data(), wanted.evaluation, 3e-6, "evaluation");
  const { output, statistics } = nn.runningBatchNorm(params, logits, { train: true });
  near(await output.data(), wanted.training, 3e-6, "training");
  near(await statistics.running_mean!.data(), wanted.mean, 3e-6, "mean");
  near(await statistics.running_var!.data(), wanted.variance, 3e-6, "variance");
  const bare = nn.runningBatchNorm({ weight: params.weight, bias: params.bias }, logits);
  near(await bare.output.data(), wanted.training, 3e-6, "without running statistics");
  assert.equal(bare.statistics, {});
});

test("losses refuse shapes and options that do not fit, and labels out of range give NaN", async () => {
  await refuses(
    () => nn.mse(p, wave([5], 0)),
    /^mse: the target has the shape of the prediction.*reshape or broadcast/,
  );
  await refuses(() => nn.l1(p, t, { reduction: "average" as never }), /^l1: reduction is "mean", "sum" or "none"/);
  await refuses(() => nn.huber(p, t, { delta: 0 }), /^huber: delta is a number > 0, got 0/);
  await refuses(() => crossEntropy(logits, labels, { labelSmoothing: 2 }), /labelSmoothing is in \[0, 1\], got 2/);
  await refuses(() => crossEntropy(logits, logits, { ignoreIndex: 1 }), /ignoreIndex is for integer labels/);
  await refuses(() => nn.tversky(logits, labels, { beta: -1 }), /^tversky: beta is a number >= 0, got -1/);
  await refuses(() => nn.ntXent(a, wave([4, 5], 0)), /^ntXent: both embeddings have one shape/);
  await refuses(() => nn.clDice(p, t), /^clDice: probabilities are f32 \[N, C, H, W\]/);
  await refuses(() => nn.klDivergence(p, t, { reduction: "no" as never }), /^klDivergence: reduction is/);
  for (const loss of [crossEntropy(logits, ignoring), crossEntropy(logits, ignoring, { labelSmoothing: 0.1 })]) {
    assert.ok(Number.isNaN(await loss.item()));
  }
  assert.ok(Number.isNaN(await nn.focal(logits, ignoring).item()));
  const each = await crossEntropy(logits, ignoring, { ignoreIndex: 255, reduction: "none" }).data();
  assert.equal([...each.slice(0, 3)], [0, 0, 0]);
  // The mean of the focal loss is over positions that count.
  const some = await nn.focal(logits, ignoring, { ignoreIndex: 255, reduction: "sum" }).item();
  near([await nn.focal(logits, ignoring, { ignoreIndex: 255 }).item()], [some / 27], 1e-6, "focal");
});

test.after(closeDevice);
test.run();
