/** The shares of parts of a batch add up to nnU-Net's loss of the whole batch, and so do their gradients. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, random, slice, type Tensor, tensor } from "../../../engine/mod.ts";
import { diceBinaryCrossEntropy, diceCrossEntropy } from "../../../engine/nn/mod.ts";
import { coupledLoss, coupledSums } from "../../../engine/train/mod.ts";
import { splitsEvenly, treeSum } from "../../../engine/train/ranks/tree_sum.ts";
import { Prng } from "../../../engine/core/prng.ts";

const shape = [4, 3, 3, 5, 2];
const logits = random.normal(random.key(3), { shape });
const prng = new Prng(4);
const labelled = (values: number): Tensor =>
  tensor(Int32Array.from({ length: 4 * 30 }, () => prng.integer(values)), { shape: [4, 3, 5, 2] });

const regions = [[1, 2], [2], [1]];
const whole = {
  "classes": {
    labels: labelled(3),
    options: {},
    loss: (x: Tensor, y: Tensor) => diceCrossEntropy(x, y, { batch: true }),
  },
  "classes, some positions ignored": {
    labels: labelled(4),
    options: { ignoreIndex: 3 },
    loss: (x: Tensor, y: Tensor) => diceCrossEntropy(x, y, { batch: true, ignoreIndex: 3 }),
  },
  "regions, some positions ignored": {
    labels: labelled(4),
    options: { regions, ignoreIndex: 3 },
    loss: (x: Tensor, y: Tensor) => diceBinaryCrossEntropy(x, y, { regions, batch: true, ignoreIndex: 3 }),
  },
};

for (const [name, { labels, options, loss }] of Object.entries(whole)) {
  test(`coupledLoss() in parts is the loss of the whole batch: ${name}`, async () => {
    const part = (t: Tensor, k: number): Tensor => slice(t, { start: [k * 2], end: [k * 2 + 2] });
    const sums = [0, 1].map((k) => coupledSums(part(logits, k), part(labels, k), options));
    const totals = sums[0].add(sums[1]);
    const share = (k: number) => (x: Tensor): Tensor => coupledLoss(x, part(labels, k), totals, 2, options);
    const values = await Promise.all([0, 1].map((k) => share(k)(part(logits, k)).item()));
    assert.ok(Math.abs(values[0] + values[1] - await loss(logits, labels).item()) < 1e-5, values.join(" "));
    const expected = await grad((x: Tensor) => loss(x, labels))(logits).data() as Float32Array;
    const got = (await Promise.all([0, 1].map((k) => grad(share(k))(part(logits, k)).data())))
      .flatMap((each) => [...each as Float32Array]);
    got.forEach((value, k) => assert.ok(Math.abs(value - expected[k]) < 1e-6, `${k}: ${value}, ${expected[k]}`));
  });
}

test("treeSum() gives the same bits however many processes sum their own parts", () => {
  const parts = Array.from({ length: 12 }, () => Float32Array.from({ length: 50 }, () => prng.uniform(-1, 1) ** 9));
  const all = treeSum(parts);
  for (const ranks of [1, 2, 4]) {
    const share = parts.length / ranks;
    const own = Array.from({ length: ranks }, (_, r) => treeSum(parts.slice(r * share, (r + 1) * share)));
    assert.equal(treeSum(own), all);
  }
  assert.equal([[12, 4], [12, 3], [6, 4], [8, 8]].map(([n, r]) => splitsEvenly(n, r)), [true, false, false, true]);
});

test.after(() => closeDevice());
test.run();
