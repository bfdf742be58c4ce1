/** Networks of files: trained with PyTorch's losses, kept in a model file, written as ONNX again. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, compile, crossEntropy, type Params, random, type Tensor, tensor } from "../../../engine/mod.ts";
import { evaluate, loadParameters, valueAndGrad, zeros } from "../../../engine/mod.ts";
import { makeVolume } from "../../../engine/imaging/mod.ts";
import { sgd } from "../../../engine/nn/mod.ts";
import { loadModel, saveModel } from "../../../engine/train/mod.ts";
import {
  exportOnnx,
  exportTrained,
  networkFromFile,
  networkFromPlan,
  networkOf,
  openModel,
  openOnnx,
} from "../../../models/mod.ts";
import { near } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { message } from "../../helpers/refuse.ts";

const golden = fileURLToPath(new URL("../../golden/", import.meta.url));
const file = `${golden}onnx/nnunet.onnx`;
const { training, nnunet } = JSON.parse(readFileSync(`${golden}onnx/networks.json`, "utf8"));
const wave = (shape: readonly number[], k = 0.37): Tensor =>
  tensor(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(k * i + 0.1 * k)),
    { shape },
  );
const plan = planFor({ labels: ["background", "a", "b"] });
const image = makeVolume(Float32Array.from(noise(9 * 8 * 11, 1)), {
  shape: [9, 8, 11],
  affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  name: "scan",
});

test("networkFromFile() trains 20 steps with PyTorch's losses, and its export has the outputs", async () => {
  const { model, architecture } = await networkFromFile(file, plan);
  const x = wave(nnunet.input);
  const labels = wave([2, 8, 8, 8], 0.9).mul(1.49).add(1.5).floor().clamp({ min: 0, max: 2 }).cast("i32");
  await evaluate([x, labels]);
  const optimizer = sgd({ momentum: 0.99, nesterov: true });
  let params = model.init(random.key(0));
  let state = optimizer.init(params);
  const step = compile((p: Params, s: typeof state) => {
    const [loss, grads] = valueAndGrad((each: Params) => crossEntropy(model.apply(each, x), labels))(p);
    return [loss, ...optimizer.update(grads, s, p, 0.01)] as const;
  });
  const losses: number[] = [];
  for (let k = 0; k < 20; k++) {
    const [loss, next, after] = await step(params, state);
    [params, state] = [next, after];
    losses.push(await loss.item());
  }
  near(losses, training.losses, 1e-4, "losses");

  // Into a model file, which has no weights beside its tensors, and out of it.
  const saved = await saveModel(params, { network: "onnx", architecture, plan });
  const loaded = await loadModel(saved);
  assert.ok(JSON.stringify(loaded.description.architecture).length < 12_000, "a graph without weights");
  const network = networkOf(loaded.description, "saved");
  const own = loadParameters(network.init(random.key(0)), loaded.tensors) as Params;
  const output = await [network.apply(own, x)].flat()[0].data();
  near(output, await model.apply(params, x).data(), 1e-6, "from the model file");
  near(output.filter((_, k) => k % training.output.stride === 0), training.output.values, 2e-3, "PyTorch's output");
  const bytes = await exportTrained(loaded);
  const again = await openOnnx(bytes);
  near(await again.apply(again.params, x).output.data(), output, 1e-6, "exported");
  const first = await openOnnx(file);
  assert.equal([again.inputs, again.outputs, again.opset], [first.inputs, first.outputs, first.opset]);

  // Both segment alike; the exported one knows its plan.
  const models = await Promise.all([openModel(saved), openModel(bytes)]);
  const [a, b] = await Promise.all(models.map(async (each) => [...(await each.segment(image)).labels.data]));
  assert.equal(a, b);
  assert.ok(new Set(a).size > 1);
  for (const each of models) each.dispose();
});

test("networkFromFile() applies a graph of one image to each of a batch", async () => {
  const meshnet = `${golden}tfjs/meshnet.json`;
  const any = networkFromPlan(plan);
  const params = any.init(random.key(0));
  const x = random.normal(random.key(1), { shape: [3, 1, 8, 8, 8] });
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-network-"));
  const single = join(folder, "single.onnx");
  const input = zeros([1, 1, 8, 8, 8]);
  await writeFile(single, await exportOnnx((p, given) => any.apply(p, given.input) as Tensor, params, { input }));
  const { model } = await networkFromFile(single, plan);
  await rm(folder, { recursive: true });
  near(
    await model.apply(model.init(random.key(0)), x).data(),
    await (any.apply(params, x) as Tensor).data(),
    1e-5,
    "batch",
  );
  assert.match(await message(networkFromFile(meshnet, planFor({}))), /it has 3 outputs, and the plan 2 labels/);
  const wide = { ...plan, patch: [8, 16, 16] as const };
  assert.match(await message(networkFromFile(file, wide)), /its input is \[batch, 1, depth, 8, 8\], and the plan/);
});

test("model files of graphs say what is damaged", async () => {
  const { model, architecture } = await networkFromFile(file, plan);
  const saved = (change: object): Promise<Uint8Array> =>
    saveModel(model.init(random.key(0)), { network: "onnx", architecture: { ...architecture, ...change }, plan });
  assert.match(await message(openModel(await saved({ graph: 1 }))), /its architecture holds no graph/);
  assert.match(await message(openModel(await saved({ graph: "a*b=" }))), /is no text of base64; it is damaged/);
  assert.match(await message(openModel(await saved({ graph: "AAAA" }))), /is no ONNX model, or is damaged/);
});

test.after(() => closeDevice());
test.run();
