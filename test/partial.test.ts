/** Marginal and exclusion losses against PyTorch's numbers, loops in float64, the engine's ordinary losses, identities. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice, compile, crossEntropy, deepSupervision, diceCrossEntropy, grad, hvp, resizeLabels, softDice, Tensor, tensor, valueAndGrad,
} from "../engine/mod.ts";
import { partial } from "../models/mod.ts";
import { assertClose, goldenJson, goldenTensors, noise, relativeError, toTensor } from "./helpers.ts";

test.after(() => closeDevice());
const read = goldenTensors("methods");

type Loss = (logits: Tensor) => Tensor;

/** Value and gradient, compiled. */
async function both(loss: Loss, logits: Tensor): Promise<[number, Float32Array]> {
  const [value, slope] = await compile((x: Tensor) => valueAndGrad(loss)(x) as [Tensor, Tensor])(logits);
  return [await value.item(), (await slope.data()) as Float32Array];
}

const near = (got: number, wanted: number, tolerance: number, what: string): void =>
  assert.ok(Math.abs(got - wanted) <= tolerance * Math.max(1, Math.abs(wanted)), `${what}: ${got} for ${wanted}`);

// Sums of a thousand f32 values around 1: 1e-6 of the value, 1e-5 of the largest slope.
for (const c of goldenJson("methods").cases.filter((entry: any) => entry.name.startsWith("partial."))) {
  test(`${c.name}: losses, gradients and exclusion labels of PyTorch`, async () => {
    const logits = toTensor(read(c.input));
    // There labels count the merged classes; here they are class values.
    const stored = read(c.labels);
    const labels = tensor(Int32Array.from(stored.data, (m) => c.groups[m][0]), { shape: stored.shape });
    const exclusion = toTensor(read(c.exclusion));
    const { groups, classes } = c;
    assert.equal(partial.mergedGroups(groups.slice(1).flat(), classes), groups);
    assert.equal(await partial.exclusionLabels(labels, { groups, classes }).data(), await exclusion.data());
    const losses: [string, Loss][] = [
      ["marginalCE", (x) => partial.marginalCrossEntropy(x, labels, { groups })],
      ["marginalDice", (x) => partial.marginalDice(x, labels, { groups, smooth: 1e-5 })],
      ["exclusionCE", (x) => partial.exclusionCrossEntropy(x, exclusion)],
      ["exclusionDice", (x) => partial.exclusionDice(x, exclusion)],
    ];
    for (const [name, loss] of losses) {
      const [value, slope] = await both(loss, logits);
      near(value, c[name], 1e-6, name);
      const error = relativeError(slope, read(c[`${name}Grad`]).data);
      assert.ok(error < 1e-5, `${name}: gradient off by ${error}`);
    }
  });
}

test.run();
