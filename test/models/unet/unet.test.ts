// deno-lint-ignore-file no-explicit-any
/** The U-Nets against the published PyTorch models, and a few training steps. */
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice,
  compile,
  deviceInfo,
  evaluate,
  loadParameters,
  loadSafetensors,
  random,
  saveSafetensors,
  Tensor,
  tensor,
  tree,
  valueAndGrad,
  zeros,
} from "../../../engine/mod.ts";
import { deepSupervision, diceCrossEntropy, sgd } from "../../../engine/nn/mod.ts";
import { type Model, plainConvUNet, residualEncoderUNet } from "../../../models/mod.ts";
import { refuses } from "../../helpers/refuse.ts";

interface Case {
  name: string;
  parameterCount: number;
  parameters: [string, number[], "he" | "scale" | "bias"][];
  gradNorms: number[];
  loss: number;
  inputs: string[];
  outputs: string[];
  config: Record<string, any>;
}

const golden = new URL("../../golden/models_unet", import.meta.url);
const { cases } = JSON.parse(await readFile(`${golden.pathname}.json`, "utf8")) as { cases: Case[] };
const { tensors } = loadSafetensors(await readFile(`${golden.pathname}.safetensors`));

/** Entry j of the list of parameters, filled as the reference was. */
function formula([, shape, rule]: Case["parameters"][number], j: number): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: count }, (_, i) => {
    const s = Math.sin(0.1 + 1.7 * j + 0.7393 * i);
    return rule === "he" ? s * Math.sqrt(2 / (count / shape[0])) : rule === "scale" ? 1 + 0.1 * s : 0.1 * s;
  });
  return tensor(values, { shape });
}

function modelOf({ config: c }: Case): Model<any> {
  const common = {
    inputChannels: c.input_channels,
    features: c.features_per_stage,
    kernels: c.kernel_sizes,
    strides: c.strides,
    classes: c.num_classes,
    decoderConvsPerStage: c.n_conv_per_stage_decoder,
    deepSupervision: c.deep_supervision,
  };
  return c.n_blocks_per_stage
    ? residualEncoderUNet({ ...common, blocksPerStage: c.n_blocks_per_stage })
    : plainConvUNet({ ...common, convsPerStage: c.n_conv_per_stage });
}

// f16 has 11 bits: a rounding is 5e-4 of a value, and what passes some ten layers meets some twenty of them.
const precisions = [
  { precision: "f32", tolerance: 1e-4, rounding: 1e-7 },
  { precision: "mixed", tolerance: 2e-2, rounding: 5e-3 },
] as const;
const { features } = await deviceInfo();
const hasHalf = features.includes("shader-f16");
if (!hasHalf) console.log("The adapter has no f16: mixed precision is not run.");

for (const c of cases) {
  const model = modelOf(c);
  const template = model.init(random.key(0));

  test(`plainConvUNet() and others have the published names, shapes and count: ${c.name}`, () => {
    const flat: Map<string, Tensor> = tree.flatten(template);
    assert.equal(
      [...flat.keys()],
      c.parameters.map(([name]) => name),
    );
    assert.equal(
      [...flat.values()].map((p) => [...p.shape]),
      c.parameters.map(([, shape]) => shape),
    );
    assert.is(
      [...flat.values()].reduce((total, p) => total + p.size, 0),
      c.parameterCount,
    );
  });

  for (const { precision, tolerance, rounding } of hasHalf ? precisions : precisions.slice(0, 1)) {
    test(`plainConvUNet() and others agree with PyTorch in ${precision}: ${c.name}`, async () => {
      const params = loadParameters(template, new Map(c.parameters.map((entry, j) => [entry[0], formula(entry, j)])));
      const lossOf = (p: any, x: Tensor): [Tensor, Tensor[]] => {
        const outputs: Tensor[] = model.apply(p, x);
        return [outputs.map((y) => y.square().mean()).reduce((a, b) => a.add(b)), outputs];
      };
      const run = compile(
        (p: any, x: Tensor) => {
          const [[loss, outputs], grads] = valueAndGrad(lossOf, { hasAux: true })(p, x);
          return { loss, outputs, norms: tree.leaves(grads).map((g: Tensor) => g.square().sum().sqrt()) };
        },
        { precision },
      );
      const { loss, outputs, norms } = await run(params, tensors.get(c.inputs[0])!);

      assert.is(outputs.length, c.outputs.length);
      for (const [k, name] of c.outputs.entries()) {
        const want = tensors.get(name)!;
        assert.equal(outputs[k].shape, want.shape);
        const [a, b] = [Array.from<number>(await outputs[k].data()), Array.from(await want.data())];
        const error = Math.max(...a.map((v, i) => Math.abs(v - b[i])));
        const largest = Math.max(...b.map(Math.abs));
        assert.ok(error <= tolerance * largest, `${name}: largest error ${error} of ${largest}`);
      }
      const value = await loss.item();
      assert.ok(Math.abs(value - c.loss) <= tolerance * c.loss, `loss ${value}, ${c.loss} wanted`);
      const most = Math.max(...c.gradNorms);
      for (const [j, want] of c.gradNorms.entries()) {
        const got = await norms[j].item();
        // A bias before a norm has no gradient, and others are sums that nearly cancel: what is left is rounding.
        const allowed = Math.max(1e-3, tolerance) * want + rounding * most;
        assert.ok(Math.abs(got - want) <= allowed, `${c.parameters[j][0]}: gradient norm ${got}, ${want} wanted`);
      }
      run.dispose();
    });
  }
}

const small = plainConvUNet({
  inputChannels: 1,
  features: [4, 8, 8],
  kernels: 3,
  strides: [1, 2, 2],
  classes: 2,
  convsPerStage: 1,
  decoderConvsPerStage: 1,
  deepSupervision: true,
});

test("plainConvUNet() steps lower the loss, compiled and donated, and repeat bit for bit", async () => {
  const n = [8, 12, 8];
  const volume = n[0] * n[1] * n[2];
  const labels = Int32Array.from({ length: volume }, (_, i) => {
    const [z, y, x] = [Math.floor(i / (n[1] * n[2])), Math.floor(i / n[2]) % n[1], i % n[2]];
    return Number((z - 3.5) ** 2 + (y - 5) ** 2 + (x - 4) ** 2 < 9);
  });
  const image = Float32Array.from(labels, (v, i) => v + 0.3 * Math.sin(i * 1.7));
  const optimizer = sgd({ momentum: 0.9, nesterov: true, weightDecay: 3e-5 });
  const step = compile(
    (params: any, state: any, x: Tensor, y: Tensor, rate: Tensor) => {
      const lossOf = (p: any): Tensor =>
        deepSupervision(diceCrossEntropy, small.apply(p, x), y, { weights: [0.75, 0.25] });
      const [loss, grads] = valueAndGrad(lossOf)(params);
      return [loss, ...optimizer.update(grads, state, params, rate)] as [Tensor, any, any];
    },
    { donate: [0, 1] },
  );
  const run = async (): Promise<number[]> => {
    let params = await evaluate(small.init(random.key(3)));
    let state = optimizer.init(params);
    const losses: number[] = [];
    const [x, y] = [tensor(image, { shape: [1, 1, ...n] }), tensor(labels, { shape: [1, ...n] })];
    for (let k = 0; k < 12; k++) {
      let loss: Tensor;
      [loss, params, state] = await step(params, state, x, y, 0.02 * (1 - k / 24));
      losses.push(await loss.item());
    }
    return losses;
  };
  const losses = await run();
  assert.ok(losses.every(Number.isFinite), `losses ${losses}`);
  assert.ok(losses.at(-1)! < 0.6 * losses[0], `the loss went from ${losses[0]} to ${losses.at(-1)}`);
  assert.is(step.programs().length, 1, "a changing rate compiles once");
  assert.equal(await run(), losses);
  step.dispose();
});

test("saveSafetensors() and loadSafetensors() keep a state dict", async () => {
  const params = await evaluate(small.init(random.key(5)));
  const bytes = await saveSafetensors(params, { epoch: "3" });
  const { tensors: loaded, metadata } = loadSafetensors(bytes);
  assert.equal(metadata, { epoch: "3" });
  const again = loadParameters(small.init(random.key(6)), loaded);
  assert.equal([...tree.flatten(again).keys()], [...tree.flatten(params).keys()]);
  for (const [name, p] of tree.flatten(params)) assert.equal(await loaded.get(name)!.data(), await p.data(), name);
  assert.equal(await saveSafetensors(again, { epoch: "3" }), bytes);
});

test("residualEncoderUNet().init() is He normal, biases 0, norms 1, last norms of residual blocks 0", async () => {
  const model = residualEncoderUNet({
    inputChannels: 2,
    features: [8, 16],
    kernels: 3,
    strides: [1, 2],
    classes: 3,
    blocksPerStage: 1,
  });
  const params = await evaluate(model.init(random.key(7)));
  const flat = tree.flatten(params);
  for (const [name, p] of flat) {
    const data = Array.from(await p.data());
    if (p.rank > 1) {
      const fan = p.size / p.shape[0];
      const std = Math.sqrt(2 / (1 + 0.01 ** 2) / fan);
      const variance = data.reduce((total, v) => total + v * v, 0) / data.length;
      // Six standard errors.
      assert.ok(
        Math.abs(Math.sqrt(variance) / std - 1) < 6 / Math.sqrt(2 * data.length),
        `${name}: ${Math.sqrt(variance)} for ${std}`,
      );
    } else {
      const want = name.endsWith("norm.weight") && !name.includes("conv2") ? 1 : 0;
      assert.ok(
        data.every((v) => v === want),
        `${name} starts at ${want}`,
      );
    }
  }
  const other = await evaluate(model.init(random.key(8)));
  const name = "encoder.stem.convs.0.conv.weight";
  assert.not.equal(await tree.flatten(other).get(name)!.data(), await flat.get(name)!.data());
});

test("residualEncoderUNet() takes two dimensions, strides without projection, and no deep supervision", async () => {
  const model = residualEncoderUNet({
    inputChannels: 1,
    features: [4, 4, 8],
    kernels: [
      [3, 3],
      [1, 3],
      [3, 3],
    ],
    strides: [
      [1, 1],
      [2, 1],
      [1, 1],
    ],
    classes: 2,
    blocksPerStage: 1,
  });
  const params = model.init(random.key(1));
  const names = [...tree.flatten(params).keys()];
  assert.not.ok(names.some((name) => name.startsWith("encoder.stages.1.blocks.0.skip")));
  assert.ok(names.includes("encoder.stages.2.blocks.0.skip.0.conv.weight"));
  const y = model.apply(params, random.normal(random.key(2), { shape: [2, 1, 6, 5] })) as Tensor;
  assert.equal(y.shape, [2, 2, 6, 5]);
  assert.ok((await y.data()).every(Number.isFinite));
});

test("plainConvUNet() and others throw on bad options with the fix", () => {
  const params = small.init(random.key(1));
  refuses(() => small.apply(params, zeros([1, 1, 8, 10, 8])), /height 10 is not divisible by 4; 8 or 12 would do/);
  refuses(() => small.apply(params, zeros([1, 1, 3, 8, 8])), /depth 3 is not divisible by 4; 4 would do/);
  refuses(() => small.apply(params, zeros([1, 1, 4, 4, 4])), /one voxel is left/);
  refuses(
    () => small.apply(params, zeros([1, 2, 8, 8, 8])),
    /the input is \[N, 1, depth, height, width\], got \[1, 2, 8, 8, 8\]/,
  );
  const config = { inputChannels: 1, features: [4, 8], classes: 2 } as const;
  refuses(() => plainConvUNet({ ...config, kernels: 2 }), /odd numbers/);
  refuses(() => plainConvUNet({ ...config, strides: [1, 2, 2] }), /strides has one entry per stage, 2/);
  refuses(
    () => plainConvUNet({ ...config, blocksPerStage: 2 }),
    /unknown option "blocksPerStage"; it takes .*convsPerStage/,
  );
  refuses(() => residualEncoderUNet(config), /blocksPerStage is missing/);
  const short = new Map([...tree.flatten(params)].slice(1));
  short.set("decoder.seg_layers.0.bias", zeros([3]));
  short.set("all_modules.0", zeros([1]));
  refuses(
    () => loadParameters(params, short),
    /1 missing: encoder.*convs.0.conv.weight; 1 unexpected: all_modules.0; 1 of .*seg_layers.0.bias \(f32 \[3\] for/,
  );
});

test.after(() => closeDevice());
test.run();
