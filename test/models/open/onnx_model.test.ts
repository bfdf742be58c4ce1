/** ONNX models by openModel(): those that voxgrad exported, and others with a plan beside them. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { makeVolume } from "../../../engine/imaging/mod.ts";
import { predictor, saveModel } from "../../../engine/train/mod.ts";
import { exportOnnx, networkFromPlan, openModel, openOnnx } from "../../../models/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { message } from "../../helpers/refuse.ts";

const plan = planFor({ labels: ["background", "a", "b"], orientation: "RAS", spacing: [1.5, 1, 1] });
const network = networkFromPlan(plan);
const params = network.init(vg.random.key(3));
const { name, ...shape } = plan.network;
const description = {
  format: "voxgrad model 1",
  network: name,
  architecture: { inputChannels: 1, classes: 3, ...shape },
  plan,
};
const input = vg.zeros([1, 1, ...plan.patch]);
const exported = (metadata: Record<string, string> = {}): Promise<Uint8Array> =>
  exportOnnx((p, given) => network.apply(p, given.input), params, { input }, { metadata });
const image = makeVolume(Float32Array.from(noise(13 * 17 * 8, 1)), {
  shape: [13, 17, 8],
  affine: [-1, 0, 0, 4, 0, 1, 0, 5, 0, 0, 2, 6, 0, 0, 0, 1],
  name: "scan",
});
const own = await exported({ voxgrad: JSON.stringify(description) });

test("openModel() segments with an exported model as with the network itself", async () => {
  const wanted = await predictor([{ network, params: [params], plan }], {}).predict(image, { probabilities: true });
  for (const source of [own, new File([own as Uint8Array<ArrayBuffer>], "network.onnx")]) {
    const model = await openModel(source);
    assert.equal(model.labels.map((label) => label.name), plan.labels);
    const { labels, probabilities } = await model.segment(image, { probabilities: true });
    assert.equal([...labels.data], [...wanted.labels.data]);
    const [a, b] = [probabilities!.data, wanted.probabilities!.data];
    assert.ok(a.every((p, k) => Math.abs(p - b[k]) < 1e-5));
    model.dispose();
  }
  // An ensemble with the same weights in a model file of voxgrad.
  const both = await openModel([own, await saveModel(params, description)]);
  assert.equal([...(await both.segment(image)).labels.data], [...wanted.labels.data]);
  both.dispose();
});

test("openModel() takes a plan for an ONNX model without one, and says what does not fit", async () => {
  const plain = await exported();
  const model = await openModel(plain, { plan });
  const [a, b] = [await model.segment(image), await (await openModel(own)).segment(image)];
  assert.equal([...a.labels.data], [...b.labels.data]);
  assert.match(await message(openModel(plain)), /does not say how scans are prepared; give a plan/);
  assert.match(await message(openModel(own, { plan })), /holds a plan of its own; leave yours out/);
  assert.match(await message(openModel(await saveModel(params, description), { plan })), /plan is for ONNX models/);
  const larger = { ...plan, patch: [64, 64, 64] as const };
  assert.match(
    await message(openModel(plain, { plan: larger })),
    /its input is \[1, 1, .*and the plan has .*patches of/,
  );
  const fewer = { ...plan, labels: ["background", "a"] };
  assert.match(await message(openModel(plain, { plan: fewer })), /it has 3 outputs, and the plan 2/);
  const broken = await exported({ voxgrad: "{" });
  assert.match(await message(openModel(broken)), /the entry "voxgrad" of its metadata is no JSON/);
});

test("openModel() opens a network that PyTorch exported", async () => {
  const file = fileURLToPath(new URL("../../golden/onnx/nnunet.onnx", import.meta.url));
  const small = { ...plan, patch: [8, 8, 8] as const };
  const model = await openModel(file, { plan: small });
  const { apply, params } = await openOnnx(readFileSync(file));
  const torch = { config: {}, init: () => params, apply: (p: object, x: vg.Tensor) => apply(p as never, x).output };
  const wanted = await predictor([{ network: torch, params: [params], plan: small }], {}).predict(image);
  assert.equal([...(await model.segment(image)).labels.data], [...wanted.labels.data]);
});

test.after(() => vg.closeDevice());
test.run();
