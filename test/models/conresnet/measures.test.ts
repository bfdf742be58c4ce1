/** What is measured of residuals and attention, against brute force and hand cases. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random, type Tensor, tensor, tree } from "../../../engine/mod.ts";
import { conResNet, contextMeasures } from "../../../models/mod.ts";
import { areaUnderCurve } from "../../../models/conresnet/measures.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

test.after(() => closeDevice());

/** The share of pairs that are in order, by all pairs. */
function bruteForce(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  let [right, pairs] = [0, 0];
  for (let i = 0; i < scores.length; i++) {
    for (let j = 0; j < scores.length; j++) {
      if (labels[i] === 0 || labels[j] !== 0) continue;
      pairs++;
      right += scores[i] > scores[j] ? 1 : scores[i] === scores[j] ? 0.5 : 0;
    }
  }
  return right / pairs;
}

test("areaUnderCurve() is the share of pairs in order, ties counted half", () => {
  const labels = noise(90, 1).map((v) => Number(v > 0.2));
  for (const scores of [noise(90, 2), noise(90, 3).map((v) => Math.round(3 * v))]) {
    assert.ok(Math.abs(areaUnderCurve(scores, labels) - bruteForce(scores, labels)) < 1e-12);
  }
  assert.is(areaUnderCurve(Float32Array.of(1, 2, 3, 4), Float32Array.of(0, 0, 1, 1)), 1);
  assert.is(areaUnderCurve(Float32Array.of(-10, 9, 10), Float32Array.of(1, 0, 0)), 0);
  assert.ok(Number.isNaN(areaUnderCurve(Float32Array.of(1, 2), Float32Array.of(0, 0))));
});

const regions = [{ name: "whole", values: [1, 2] }, { name: "core", values: [2] }, { name: "none", values: [3] }];
const [patch, shape] = [[4, 8, 8] as [number, number, number], [4, 8, 8] as const];
const label = Uint8Array.from(noise(256, 4), (v) => (v > 0.5 ? 2 : v > 0 ? 1 : 0));
const item = { id: "a", image: Float32Array.from(noise(2 * 256, 5)), label, channels: 2, shape };
const small = { inputChannels: 2, classes: 3, features: [8, 16], blocks: [1, 1, 1], groups: 4 } as const;

test("contextMeasures() gives the area of each region and the share of attention near 0 and 1", async () => {
  const model = conResNet(small);
  const params = model.init(random.key(1));
  const { cases, saturated } = await contextMeasures({ model, params }, { plan: { patch }, regions, cases: [item] });
  // The case is one patch, so the network's own outputs and maps are what is measured.
  const image = tensor(item.image, { shape: [1, 2, ...shape] });
  const residuals = await model.apply(params, image)[1].data();
  assert.equal(cases.map(({ id }) => id), ["a"]);
  for (const [k, { name, values }] of regions.entries()) {
    const differs = Array.from(
      label,
      (v, i) => i < 64 ? 0 : Number(values.includes(v) !== values.includes(label[i - 64])),
    );
    const wanted = bruteForce(residuals.subarray(k * 256, (k + 1) * 256), differs);
    const got = cases[0].areas[name];
    assert.ok(name === "none" ? Number.isNaN(got) : Math.abs(got - wanted) < 1e-3, `${name}: ${got}, ${wanted}`);
  }
  const maps = await Promise.all(model.contextMaps(params, image).map(({ attention }) => attention!.data()));
  const values = maps.flatMap((data) => Array.from(data));
  const extreme = values.filter((v) => v < 0.05 || v > 0.95).length / values.length;
  assert.ok(extreme > 0.1 && extreme < 0.99 && Math.abs(saturated - extreme) < 5e-3, `${saturated}, ${extreme}`);

  // A residual head that is the label's residual itself would have 1; one of zeros has ties alone.
  const flat = tree.map(params, (p: Tensor, path) => (path.startsWith("res_cls") ? p.mul(0) : p));
  const tied = await contextMeasures({ model, params: flat }, { plan: { patch }, regions, cases: [item] });
  assert.equal(tied.cases[0].areas.whole, 0.5);
});

test("contextMeasures() has no attention to measure without it, and refuses a network without mapping", async () => {
  const of = (arm: object) => {
    const model = conResNet({ ...small, ...arm });
    return contextMeasures({ model, params: model.init(random.key(1)) }, { plan: { patch }, regions, cases: [item] });
  };
  assert.ok(Number.isNaN((await of({ attention: false })).saturated));
  await refuses(of({ mapping: false }), /contextMeasures: the network has no mapping/);
});

test.run();
