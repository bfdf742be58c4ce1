/** openOnnx() on networks that PyTorch 1.13 exported, against its outputs, gradients and losses. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice,
  compile,
  crossEntropy,
  evaluate,
  grad,
  type Tensor,
  tensor,
  valueAndGrad,
  VoxgradError,
} from "../../../engine/mod.ts";
import { sgd } from "../../../engine/nn/mod.ts";
import { type OnnxParams, openOnnx } from "../../../models/mod.ts";
import { near } from "../../helpers/compare.ts";
import { type Fields, message } from "./protobuf_writer.ts";

const folder = fileURLToPath(new URL("../../golden/onnx/", import.meta.url));
interface Sample {
  readonly stride: number;
  readonly values: readonly number[];
}
interface Case {
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly values: Sample;
  readonly loss: number;
  readonly inputGradient: Sample;
  readonly gradients: Readonly<Record<string, Sample>>;
}
const golden = JSON.parse(readFileSync(`${folder}networks.json`, "utf8")) as Record<string, Case> & {
  readonly training: { readonly losses: readonly number[]; readonly output: Sample };
};
const { training, ...networks } = golden;

const wave = (shape: readonly number[], k = 0.37): number[] =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(k * i + 0.1 * k));
const wavy = (shape: readonly number[], k?: number): Tensor => tensor(wave(shape, k), { shape });
async function sampled(t: Tensor, { stride, values }: Sample, tolerance: number, what: string): Promise<void> {
  const data = (await t.data()).filter((_, k) => k % stride === 0);
  // A gradient that is 0 in exact arithmetic, as that of a bias before a norm, is rounding in both.
  if (values.every((v) => Math.abs(v) < 1e-4)) {
    assert.ok(data.every((v) => Math.abs(v) < 2e-4), `${what}: near 0`);
  } else near(data, values, tolerance, what);
}

for (const [name, wanted] of Object.entries(networks)) {
  test(`openOnnx() computes PyTorch's outputs and gradients of ${name}`, async () => {
    const model = await openOnnx(`${folder}${name}.onnx`);
    const x = wavy(wanted.input);
    const loss = (params: OnnxParams, input: Tensor): Tensor => {
      const { output } = model.apply(params, input);
      return output.mul(wavy(output.shape, 0.61)).sum().add(output.square().mean());
    };
    const { output } = model.apply(model.params, { input: x });
    assert.equal([...output.shape], [...wanted.output]);
    await sampled(output, wanted.values, 2e-5, "output");
    near([await loss(model.params, x).item()], [wanted.loss], 1e-4, "loss");
    const [params, input] = grad(loss, { argnums: [0, 1] })(model.params, x);
    await sampled(input, wanted.inputGradient, 1e-4, "gradient of the input");
    let compared = 0;
    for (const [each, reference] of Object.entries(wanted.gradients)) {
      // Weights that the exporter stores transposed have names of its own.
      if (!params[each]) continue;
      compared++;
      await sampled(params[each], reference, 2e-4, `gradient of ${each}`);
    }
    assert.ok(compared >= Math.min(1, Object.keys(wanted.gradients).length), `${compared} parameters by name`);
  });
}

test("openOnnx() trains 20 steps with PyTorch's losses", async () => {
  const model = await openOnnx(`${folder}nnunet.onnx`);
  const x = wavy(networks.nnunet.input);
  const labels = wavy([2, 8, 8, 8], 0.9).mul(1.49).add(1.5).floor().clamp({ min: 0, max: 2 }).cast("i32");
  await evaluate([x, labels]);
  const optimizer = sgd({ momentum: 0.99, nesterov: true });
  let params = model.params;
  let state = optimizer.init(params);
  const step = compile((p: OnnxParams, s: typeof state) => {
    const [loss, grads] = valueAndGrad((each: OnnxParams) => crossEntropy(model.apply(each, x).output, labels))(p);
    return [loss, ...optimizer.update(grads, s, p, 0.01)] as const;
  });
  const losses: number[] = [];
  for (let k = 0; k < 20; k++) {
    const [loss, next, after] = await step(params, state);
    [params, state] = [next, after];
    losses.push(await loss.item());
  }
  near(losses, training.losses, 1e-4, "losses");
  await sampled(model.apply(params, x).output, training.output, 2e-3, "output after training");
});

test("openOnnx() binds axes at the call, and describes what a model takes", async () => {
  const model = await openOnnx(readFileSync(`${folder}nnunet.onnx`));
  assert.equal(model.inputs, [{ name: "input", type: "float", dtype: "f32", shape: ["batch", 1, "depth", 8, 8] }]);
  assert.equal([model.opset, model.producer, model.metadata], [13, "pytorch", {}]);
  assert.equal(model.apply(model.params, wavy([1, 1, 4, 8, 8])).output.shape, [1, 3, 4, 8, 8]);
  const refused = (inputs: Parameters<typeof model.apply>[1], wanted: RegExp, params = model.params): void => {
    assert.throws(() => model.apply(params, inputs), (e: Error) => e instanceof VoxgradError && wanted.test(e.message));
  };
  refused(wavy([1, 1, 4, 8, 6]), /input "input" has the shape \[batch, 1, depth, 8, 8\], got \[1,1,4,8,6\]/);
  refused({}, /input "input" is missing/);
  refused({ input: wavy([1, 1, 4, 8, 8]), other: 1 }, /no input "other"/);
  refused(wavy([1, 1, 4, 8, 8]).cast("i32"), /type float \(f32 here\)/);
  refused(wavy([1, 1, 4, 8, 8]), /the parameter "up\.weight" is a tensor/, { ...model.params, "up.weight": wavy([2]) });
  refused(wavy([1, 1, 4, 8, 8]), /no parameter "more"/, { ...model.params, more: wavy([2]) });
  // Sizes that fit no node: the error says which.
  refused(wavy([1, 1, 5, 8, 8]), /openOnnx: the node "\/?Concat.*\(Concat\)/);
});

const NONE: Fields = [];
const value = (field: number, name: string, type = 1): Fields[number] => [field, [[1, name], [2, [[1, [[1, type]]]]]]];
const file = (opset: number, ...graph: Fields): Uint8Array => message([[8, [[1, ""], [2, opset]]], [7, graph]]);
const add = (name: string): Fields => [[1, "x"], [1, name], [2, "y"], [4, "Add"]];

test("openOnnx() reads weights from files of their own, and none outside of the model's folder", async () => {
  const weight = (location: string, ...rest: Fields): Fields[number] => [
    5,
    [[1, 2], [2, 1], [8, "w"], [13, [[1, "location"], [2, location]]], ...rest, [14, 1]],
  ];
  const model = (location: string, ...rest: Fields): Uint8Array =>
    file(17, [1, add("w")], weight(location, ...rest), value(11, "x"), value(12, "y"));
  const bytes = new Uint8Array(Float32Array.of(9, 3, -4).buffer);
  const { params, apply } = await openOnnx(model("w.bin", [13, [[1, "offset"], [2, "4"]]]), {
    external: { "w.bin": bytes },
  });
  near(await apply(params, tensor([1, 1])).y.data(), [4, -3], 1e-6, "sum");
  const refused = async (source: Uint8Array, wanted: RegExp, external = {}): Promise<void> => {
    const error = await openOnnx(source, { external }).then(() => null, (e: Error) => e);
    assert.ok(error instanceof VoxgradError && wanted.test(error.message), `${error}`);
  };
  await refused(model("w.bin"), /file of their own, "w.bin"; give it with the model: \{ external/);
  for (const outside of ["../w.bin", "/etc/w", "a/../../w", "C:\\w", "http://x/w", "\\\\host\\w"]) {
    await refused(model(outside), /wanted a path within the model's folder/, { [outside]: bytes });
  }
  await refused(model("w.bin"), /takes 8 bytes and has 12/, { "w.bin": bytes });
  await refused(model("w.bin", [13, [[1, "offset"], [2, "8"]]], [13, [[1, "length"], [2, "8"]]]), /bytes 8 to 16/, {
    "w.bin": bytes,
  });
});

test("openOnnx() refuses what is no model, is damaged, or needs what is not there", async () => {
  const refused = async (source: Uint8Array, wanted: RegExp): Promise<void> => {
    const error = await openOnnx(source).then(() => null, (e: Error) => e);
    assert.ok(error instanceof VoxgradError && wanted.test(error.message), `${error}`);
  };
  await refused(new Uint8Array(), /is no ONNX model, or is damaged: it holds no graph/);
  await refused(new TextEncoder().encode("<!DOCTYPE html>"), /is no ONNX model, or is damaged/);
  await refused(file(6, ...NONE), /operators are of version 6; wanted 7 to 21/);
  const foreign: Fields = [[1, "x"], [2, "y"], [4, "Gather"], [7, "com.example"]];
  await refused(file(17, [1, foreign], value(11, "x"), value(12, "y")), /needs operator com\.example\.Gather/);
  await refused(
    file(17, [1, add("x")], value(11, "x", 8), [5, [[1, 2], [2, 1], [8, "w"], [9, "abc"]]]),
    /takes 8 bytes/,
  );
});

test("OnnxModel.save() changes the weights and nothing else", async () => {
  const whole = readFileSync(`${folder}nnunet.onnx`);
  const model = await openOnnx(whole);
  const same = await model.save(model.params);
  // Fields of a tensor may stand in another order.
  assert.is(same.length, whole.length);
  const changed = { ...model.params, "seg.bias": tensor([1, 2, 3]) };
  const again = await openOnnx(await model.save(changed));
  assert.equal([again.inputs, again.outputs, again.opset], [model.inputs, model.outputs, model.opset]);
  const x = wavy([1, 1, 4, 8, 8]);
  const [a, b] = [again.apply(again.params, x).output, model.apply(changed, x).output];
  assert.equal([...await a.data()], [...await b.data()]);
});

test("OnnxModel.save() rounds to the types of the file: halves, bfloat16, doubles", async () => {
  const weight = (name: string, type: number, bytes: ArrayBufferView): Fields[number] => [
    5,
    [[1, 6], [2, type], [8, name], [9, new Uint8Array(bytes.buffer)]],
  ];
  const sum = (a: string, b: string, to: string): Fields => [[1, a], [1, b], [2, to], [4, "Add"]];
  const bytes = file(
    17,
    ...[sum("x", "h", "a"), sum("a", "b", "c"), sum("c", "d", "y")].map((node) => [1, node] as const),
    weight("h", 10, new Uint16Array(6)),
    weight("b", 16, new Uint16Array(6)),
    weight("d", 11, new Float64Array(6)),
    value(11, "x"),
    value(12, "y"),
  );
  const model = await openOnnx(bytes);
  const w = tensor([1 + 2 ** -11, 1 + 3 * 2 ** -11, -65519, 70000, 3 * 2 ** -25, 0.1]);
  const saved = await openOnnx(await model.save({ h: w, b: w, d: w }));
  // Halves: ties to even, the largest, infinity, a subnormal. bfloat16 has 8 bits.
  near(await saved.params.h.data(), [1, 1 + 2 ** -9, -65504, Infinity, 2 * 2 ** -24, 0.0999755859375], 0, "halves");
  near(await saved.params.b.data(), [1, 1, -65536, 70144, 3 * 2 ** -25, 0.10009765625], 0, "bfloat16");
  near(await saved.params.d.data(), await w.data(), 0, "doubles");
});

test("openOnnx() gives right numbers or a VoxgradError for 500 damaged files", async () => {
  const whole = readFileSync(`${folder}conv1d.onnx`);
  let seed = 7;
  const next = (n: number): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
  let opened = 0;
  for (let k = 0; k < 500; k++) {
    const bytes = Uint8Array.from(whole);
    for (let d = 0; d <= next(3); d++) bytes[next(bytes.length)] = next(256);
    const part = next(4) === 0 ? bytes.subarray(0, next(bytes.length)) : bytes;
    try {
      const model = await openOnnx(part);
      model.apply(model.params, Object.fromEntries(model.inputs.map(({ name }) => [name, wavy([2, 4, 9])])));
      opened++;
    } catch (error) {
      assert.instance(error, VoxgradError, `file ${k}: ${(error as Error).stack}`);
    }
  }
  // Most of the file is weights, which may have any value.
  assert.ok(opened > 50 && opened < 450, `${opened} opened`);
});

test.after(closeDevice);
test.run();
