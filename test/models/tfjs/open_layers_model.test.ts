/** openLayersModel() on models that TensorFlow.js 4.22 wrote, against its outputs; see test/golden/tfjs/make.mjs. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, grad, type Tensor, tensor, zeros } from "../../../engine/mod.ts";
import { makeVolume } from "../../../engine/imaging/mod.ts";
import { predictor } from "../../../engine/train/mod.ts";
import { openLayersModel, openModel, openOnnx, summarizeNetwork } from "../../../models/mod.ts";
import { near } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { message } from "../../helpers/refuse.ts";

const folder = fileURLToPath(new URL("../../golden/tfjs/", import.meta.url));
interface Golden {
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly stride: number;
  readonly values: readonly number[];
}
const golden = JSON.parse(readFileSync(`${folder}golden.json`, "utf8")) as Record<string, Golden>;
const wave = (shape: readonly number[]): number[] =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(0.37 * i + 0.1 * 0.37));
const textOf = (name: string): string => readFileSync(`${folder}${name}.json`, "utf8");
// deno-lint-ignore no-explicit-any
type Json = any;
const jsonOf = (name: string): Json => JSON.parse(textOf(name));
const bytesOf = (json: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(json));
const weights = (name: string): Uint8Array => new Uint8Array(readFileSync(`${folder}${name}.bin`));

for (const [name, { input, output, stride, values }] of Object.entries(golden)) {
  test(`openLayersModel() computes TensorFlow.js's outputs of ${name}, and so does the ONNX file`, async () => {
    const model = await openLayersModel(`${folder}${name}.json`);
    const x = tensor(wave(input), { shape: input });
    const [y] = Object.values(model.apply(model.params, x));
    assert.equal([...y.shape], [...output]);
    const sampled = async (t: Tensor): Promise<ArrayLike<number>> =>
      (await t.data()).filter((_, k) => k % stride === 0);
    near(await sampled(y), values, 1e-5, name);
    const again = await openOnnx(await model.save(model.params));
    const [z] = Object.values(again.apply(again.params, x));
    near(await sampled(z), values, 1e-5, `${name} as ONNX`);
  });
}

test("openLayersModel() gives the weights as parameters, laid out as PyTorch's, and no constants", async () => {
  const { params, inputs, apply } = await openLayersModel(`${folder}meshnet.json`);
  assert.equal(Object.keys(params), ["21", "23", "25", "27", "output"].flatMap((n) => [`${n}.kernel`, `${n}.bias`]));
  assert.equal([...params["21.kernel"].shape], [4, 1, 3, 3, 3]);
  assert.equal(inputs.map(({ name, shape }) => [name, shape]), [["input", ["batch", 1, "depth", "height", "width"]]]);
  // Of a bias before the last activation: sums of gradients, here of ones over 8 voxels and 3 channels.
  const ones = grad((p: typeof params) => apply(p, zeros([1, 1, 2, 2, 2])).output.sum())(params);
  assert.equal([...await ones["output.bias"].data()], [8, 8, 8]);
  const model = { init: () => params, apply: (p: Json, x: Json) => apply(p, x).output };
  const { parts, parameters } = summarizeNetwork(model, { input: [1, 1, 8, 8, 8] });
  assert.equal(parts.map((part) => part.name), ["21", "23", "25", "27", "output"]);
  assert.is(parameters, 4 * 28 + 3 * 4 * 109 + 15);
});

test("openLayersModel() normalizes batches in three dimensions by the stored statistics", async () => {
  const config = { name: "norm", axis: [4], epsilon: 0.01, batch_input_shape: [null, null, null, null, 2] };
  const names = ["gamma", "beta", "moving_mean", "moving_variance"];
  const json = {
    format: "layers-model",
    modelTopology: { class_name: "Sequential", config: [{ class_name: "BatchNormalization", config }] },
    weightsManifest: [{
      paths: ["w.bin"],
      weights: names.map((name) => ({ name: `norm/${name}`, shape: [2], dtype: "float32" })),
    }],
  };
  const [gamma, beta, mean, variance] = [[2, -1], [0.5, 3], [1, -2], [4, 0.25]];
  const bytes = new Uint8Array(Float32Array.of(...gamma, ...beta, ...mean, ...variance).buffer);
  const { params, apply } = await openLayersModel(bytesOf(json), { external: { "w.bin": bytes } });
  assert.equal(Object.keys(params), ["norm.gamma", "norm.beta"]);
  const x = wave([1, 2, 1, 3, 2]);
  const wanted = x.map((v, k) => {
    const c = Math.floor(k / 6);
    return gamma[c] * (v - mean[c]) / Math.sqrt(variance[c] + 0.01) + beta[c];
  });
  near(await apply(params, tensor(x, { shape: [1, 2, 1, 3, 2] })).norm.data(), wanted, 1e-6, "norm");
});

test("openLayersModel() reads weights of 8 and 16 bits and halves, in several files", async () => {
  const json = jsonOf("meshnet");
  const [group] = json.weightsManifest;
  const all = new Float32Array(weights("meshnet").buffer);
  let at = 0;
  const stored: number[] = [];
  const wanted: Record<string, number[]> = {};
  group.weights.forEach((weight: Json, k: number) => {
    const count = weight.shape.reduce((a: number, b: number) => a * b, 1);
    const own = [...all.subarray(at, at += count)];
    const name = weight.name.replace("/", ".");
    if (k % 3 === 2) {
      // 1, -2 and 0.5 as halves.
      const halves = [0x3c00, 0xc000, 0x3800];
      wanted[name] = own.map((_, j) => [1, -2, 0.5][j % 3]);
      weight.quantization = { dtype: "float16", original_dtype: "float32" };
      stored.push(...new Uint8Array(Uint16Array.from(own, (_, j) => halves[j % 3]).buffer));
      return;
    }
    const [min, most] = [Math.min(...own), k % 3 ? 65535 : 255];
    const scale = (Math.max(...own) - min) / most;
    const steps = own.map((v) => Math.round((v - min) / scale));
    wanted[name] = steps.map((q) => Math.fround(q * scale + min));
    weight.quantization = { dtype: k % 3 ? "uint16" : "uint8", min, scale };
    stored.push(...(k % 3 ? new Uint8Array(Uint16Array.from(steps).buffer) : Uint8Array.from(steps)));
  });
  group.paths = ["shard1", "shard2", "shard3"];
  const cuts = [0, 11, 1003, stored.length];
  const external = Object.fromEntries(
    [0, 1, 2].map((k) => [`shard${k + 1}`, Uint8Array.from(stored.slice(cuts[k], cuts[k + 1]))]),
  );
  const { params } = await openLayersModel(bytesOf(json), { external });
  for (const name of ["21.bias", "23.kernel", "output.bias"]) {
    const values = [...await params[name].data()];
    const own = wanted[name];
    assert.is(values.length, own.length);
    assert.equal([...values].sort(), [...own].sort(), name);
  }
  external.shard3 = external.shard3.slice(1);
  assert.match(
    await message(openLayersModel(bytesOf(json), { external })),
    /shard1, shard2, shard3: model.json says \d+ bytes of weights, got \d+/,
  );
});

test("openModel() segments with a layers model by a short plan, in pages from chosen files", async () => {
  const image = makeVolume(Float32Array.from(noise(13 * 17 * 8, 1)), {
    shape: [13, 17, 8],
    affine: [-1, 0, 0, 4, 0, 1, 0, 5, 0, 0, 2, 6, 0, 0, 0, 1],
    name: "scan",
  });
  const channels = [{ name: "T1", normalization: "rescale", quantiles: [0.05, 0.95] }] as const;
  const short = { spacing: [1.5, 1, 1], patch: [8, 8, 8], channels } as const;
  const plan = planFor({ ...short, orientation: "RAS", labels: ["background", "1", "2"] });
  const { apply, params } = await openLayersModel(`${folder}meshnet.json`);
  const network = { apply: (p: object, x: Json) => apply(p as Json, x).output };
  const wanted = await predictor([{ network, params: [params], plan }], {}).predict(image);
  const file = new File([textOf("meshnet")], "model.json");
  const external = { "meshnet.bin": new Blob([weights("meshnet") as Uint8Array<ArrayBuffer>]) };
  for (
    const model of [
      await openModel(`${folder}meshnet.json`, { plan: short }),
      await openModel(file, { plan: short, external }),
    ]
  ) {
    assert.equal(model.labels.map(({ name }) => name), ["background", "1", "2"]);
    assert.equal([...(await model.segment(image)).labels.data], [...wanted.labels.data]);
    model.dispose();
  }
  const own = await openModel(file, { plan: { spacing: [1, 1, 1], channels }, external });
  assert.equal([...own.plan.patch], [12, 12, 12]);
  assert.match(await message(openModel(file, { plan: short })), /lie in a file of their own, "meshnet.bin"/);
  assert.match(await message(openModel(file, { external })), /does not say how scans are prepared; give a plan/);
  const odd = { ...short, channels: [{ name: "T1", normalization: "rescale", quantiles: [0.9, 0.1] }] } as const;
  assert.match(await message(openModel(file, { plan: odd, external })), /quantiles.*two numbers from 0 to 1/);
});

test("openLayersModel() says what it does not read", async () => {
  const external = { "meshnet.bin": weights("meshnet") };
  const refused = async (change: (json: Json, layers: Json[]) => unknown, pattern: RegExp): Promise<void> => {
    const json = jsonOf("meshnet");
    const { modelTopology } = json;
    const changed = change(json, (modelTopology.model_config ?? modelTopology).config.layers) ?? json;
    assert.match(await message(openLayersModel(bytesOf(changed), { external })), pattern);
  };
  await refused(() => [], /no object; is it the model\.json of a layers model/);
  await refused((json) => ({ ...json, format: "graph-model" }), /a graph model; save it as a layers model/);
  await refused((json) => ({ ...json, modelTopology: 1 }), /it has no modelTopology/);
  await refused((json) => ({ ...json, weightsManifest: {} }), /weightsManifest is/);
  await refused((_, layers) => void (layers[1].class_name = "LSTM"), /layers LSTM, which voxgrad does not have/);
  await refused((_, layers) => void (layers[1].config.activation = "exotic"), /the activation "exotic"/);
  await refused((_, layers) => void (layers[1].config.data_format = "channels_first"), /data_format "channels_first"/);
  await refused((_, layers) => void (layers[1].config.strides = [1, 0, 1]), /strides is \[1,0,1\]; wanted 3 integers/);
  await refused((_, layers) => void (layers[1].inbound_nodes[0][0][0] = "27"), /nothing gives what the layers/);
  await refused((_, layers) => void layers.splice(1, 1), /nothing gives what the layers|no layer takes the weights/);
  await refused((json) => void json.weightsManifest[0].weights.pop(), /model\.json says \d+ bytes/);
  await refused((json) => void (json.weightsManifest[0].weights[0].name = "21/odd"), /has no weight kernel/);
  await refused((json) => void (json.weightsManifest[0].paths = ["../x"]), /wanted a path within the model's folder/);
  await refused((json) => void (json.weightsManifest[0].weights[0].dtype = "string"), /weights of type "string"/);
  await refused(
    (json) => void (json.weightsManifest[0].weights[0].quantization = { dtype: "uint8", scale: "1", min: 0 }),
    /has scale "1" and min 0; wanted numbers/,
  );
});

test.after(() => closeDevice());
test.run();
