// deno-lint-ignore-file no-explicit-any
/**
 * ResNets against torchvision's: names, outputs in both modes, gradients, running statistics, loading; ALPNet's
 * encoder.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice,
  compile,
  evaluate,
  loadParameters,
  random,
  Tensor,
  tensor,
  tree,
  valueAndGrad,
  zeros,
} from "../../../engine/mod.ts";
import { alpnet, resNet, type ResNetConfig, withStatistics } from "../../../models/mod.ts";
import { assertClose } from "../../helpers/compare.ts";
import { goldenJson, goldenTensors } from "../../helpers/golden.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

test.after(() => closeDevice());

type Entry = [name: string, shape: number[], rule: "he" | "scale" | "bias"];
interface Case {
  name: string;
  config: ResNetConfig;
  parameters: Entry[];
  input: number[];
  evaluated: string;
  trained: string;
  loss: number;
  gradNorms: [string, number][];
  running: [string, number][];
}
interface Published {
  depth: 18 | 34 | 50 | 101 | 152;
  tensors: number;
  parameters: number;
  hash: number;
}
const { cases, published } = goldenJson("models_resnet") as { cases: Case[]; published: Published[] };
const stored = goldenTensors("models_resnet");
const key = random.key(0);

/** Entry j of the list of parameters, filled as the reference was. */
function formula([, shape, rule]: Entry, j: number): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: count }, (_, i) => {
    const s = Math.sin(0.1 + 1.7 * j + 0.7393 * i);
    return rule === "he" ? s * Math.sqrt(2 / (count / shape[0])) : rule === "scale" ? 1 + 0.1 * s : 0.1 * s;
  });
  return tensor(values, { shape });
}
const dictionary = (c: Case): Map<string, Tensor> =>
  new Map(c.parameters.map((entry, j) => [entry[0], formula(entry, j)]));
const imageOf = (shape: readonly number[]): Tensor =>
  tensor(
    Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      (_, i) => Math.sin(0.3 + 0.917 * i) + Math.sin(0.0131 * i),
    ),
    { shape },
  );
const near = (got: number, wanted: number, tolerance: number, what: string): void =>
  assert.ok(Math.abs(got - wanted) <= tolerance * Math.abs(wanted), `${what}: ${got}, ${wanted} wanted`);

for (const { depth, ...wanted } of published) {
  test(`resNet() of depth ${depth} has torchvision's names and shapes; nothing is computed`, () => {
    const flat = tree.flatten(resNet({ depth }).init(key)) as Map<string, Tensor>;
    assert.is(flat.size, wanted.tensors);
    const trained = [...flat].filter(([name]) => !name.includes("running"));
    assert.is(
      trained.reduce((sum, [, p]) => sum + p.size, 0),
      wanted.parameters,
    );
    let hash = 0x811c9dc5;
    for (const letter of [...flat].map(([name, p]) => name + JSON.stringify(p.shape)).join("\n")) {
      hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
    }
    assert.is(hash, wanted.hash);
  });
}

for (const c of cases) {
  const model = resNet(c.config);

  test(`resNet() agrees with torchvision in outputs, gradient norms and running statistics: ${c.name}`, async () => {
    assert.equal(
      [...(tree.flatten(model.init(key)) as Map<string, Tensor>)].map(([name, p]) => [name, [...p.shape]]),
      c.parameters.map(([name, shape]) => [name, shape]),
    );
    const params = model.load(dictionary(c));
    const run = compile((p: any, x: Tensor) => {
      const lossOf = (q: any) => {
        const { output, statistics } = model.applyTraining(q, x);
        return [output.square().mean(), { output, statistics }] as const;
      };
      // Gradients of the small one alone: each kernel of the other's backward pass would be compiled for this.
      const [[loss, parts], grads] = c.gradNorms.length > 0
        ? (valueAndGrad(lossOf, { hasAux: true })(p) as any)
        : [lossOf(p), {}];
      const norm = (t: Tensor): Tensor => t.square().sum().sqrt();
      const same = model.apply(p, x, { train: true }).sub(parts.output).abs().max();
      const results = { loss, trained: parts.output, evaluated: model.apply(p, x), same };
      return { ...results, norms: tree.map(grads, norm), running: tree.map(parts.statistics, norm) };
    }) as any;
    const result = await run(params, imageOf(c.input));
    const { outputChannels, outputStride } = model.config;
    assert.equal(result.trained.shape, [
      c.input[0],
      outputChannels,
      ...c.input.slice(2).map((n) => Math.ceil(n / outputStride)),
    ]);
    // Norms of small batches amplify what f32 rounds: 1e-4 is what the project asks of published models.
    await assertClose(result.evaluated, stored(c.evaluated), 1e-5, "evaluated");
    await assertClose(result.trained, stored(c.trained), 1e-4, "trained");
    assert.is(await result.same.item(), 0);
    near(await result.loss.item(), c.loss, 1e-4, "loss");
    const norms = tree.flatten(result.norms);
    const most = Math.max(...c.gradNorms.map(([, n]) => n));
    for (const [name, wanted] of c.gradNorms) {
      const got = await norms.get(name)!.item();
      assert.ok(Math.abs(got - wanted) <= 1e-3 * wanted + 1e-6 * most, `${name}: ${got}, ${wanted} wanted`);
    }
    assert.is(Object.keys(result.running).length, c.running.length);
    for (const [name, wanted] of c.running) near(await result.running[name].item(), wanted, 1e-5, name);
    // Running statistics get no gradient in training.
    if (norms.size > 0) { for (const [name] of c.running) assert.is(await norms.get(name)!.item(), 0, name); }
    run.dispose();
  });
}

const small = {
  block: "basic",
  layers: [1, 1],
  width: 4,
  inputChannels: 1,
  replaceStrideWithDilation: [true],
} as const;
const image = tensor(noise(2 * 21 * 18, 4), { shape: [2, 1, 21, 18] });

test("resNet() moves running statistics by the momentum; without them each batch has its own", async () => {
  const model = resNet(small);
  assert.is(model.config.outputStride, 4);
  const params = model.init(key);
  const { output, statistics } = model.applyTraining(params, image, { momentum: 1 });
  const moved = withStatistics(params, statistics);
  const bare = resNet({ ...small, runningStatistics: false });
  const flat = tree.flatten(params) as Map<string, Tensor>;
  const fewer = loadParameters(bare.init(key), new Map([...flat].filter(([name]) => !name.includes("running"))));
  const [trained, evaluated, own, started] = (await evaluate([
    output,
    model.apply(moved, image),
    bare.apply(fewer, image),
    model.apply(params, image),
  ])) as [Tensor, Tensor, Tensor, Tensor];
  const wanted = { shape: trained.shape, data: await trained.data() };
  await assertClose(own, wanted, 0, "without running statistics");
  // With momentum 1 only the correction of the variance differs: n / (n - 1), least n 2 x 5 x 6 = 60.
  await assertClose(evaluated, wanted, 0.05, "after a batch with momentum 1");
  const difference = Math.max(...(await started.sub(trained).abs().data()));
  assert.ok(difference > 0.1, `before any batch they are those of no data: ${difference}`);
  const one = model.applyTraining(params, image).statistics["bn1.running_mean"];
  const all = statistics["bn1.running_mean"];
  await assertClose(one.mul(10), { shape: [4], data: await all.data() }, 1e-6, "momentum 0.1");
  assert.equal(bare.applyTraining(fewer, image).statistics, {});
});

test("resNet().load() takes the names of torchvision, DeepLabV3 and ALPNet, and lists what does not fit", async () => {
  const model = resNet(small);
  const own = tree.flatten(model.init(random.key(3))) as Map<string, Tensor>;
  const dict = (prefix: string, ...others: string[]): Map<string, Tensor> =>
    new Map([
      ...[...own].map(([name, t]) => [prefix + name, t] as const),
      [`${prefix}bn1.num_batches_tracked`, zeros([], { dtype: "i32" })] as const,
      ...others.map((name) => [name, zeros([2])] as const),
    ]);
  const same = (found: any): void => {
    for (const [name, t] of tree.flatten(found)) assert.is(t, own.get(name), name);
  };
  same(model.load(dict("", "fc.weight", "fc.bias")));
  same(model.load(dict("backbone.", "classifier.0.convs.0.0.weight", "aux_classifier.1.bias")));
  const bare = resNet({ ...small, runningStatistics: false });
  same(bare.load(dict("")));
  const refused = (tensors: Map<string, Tensor>, pattern: RegExp) => refuses(() => model.load(tensors), pattern);
  const short = dict("backbone.", "backbone.layer3.0.conv1.weight");
  short.delete("backbone.layer1.0.bn2.running_var");
  short.set(
    "backbone.conv1.weight",
    zeros([4, 2, 7, 7])
      .sum({ axes: [1], keepDims: true })
      .broadcastTo({ shape: [4, 1, 7, 7] }),
  );
  refused(short, /1 missing: layer1\.0\.bn2\.running_var; 1 unexpected: layer3\.0\.conv1\.weight/);
  refused(new Map([["a.weight", zeros([1])]]), /no ResNet of torchvision's names .* it has a\.weight/);
  refused(new Map([...dict("a."), ...dict("b.")]), /several networks .* "a\.", "b\.".* keep one/);

  // A gray image through a file for color images.
  const color = resNet({ ...small, inputChannels: 3 });
  const file = tree.flatten(color.init(random.key(4))) as Map<string, Tensor>;
  const [gray, three] = (await evaluate([
    model.apply(model.load(file), image),
    color.apply(color.load(file), image.broadcastTo({ shape: [2, 3, 21, 18] })),
  ])) as [Tensor, Tensor];
  await assertClose(gray, { shape: three.shape, data: await three.data() }, 1e-5, "one channel");

  const encoder = alpnet.encoder({ ...small, features: 5 });
  const whole = tree.flatten(encoder.init(key)) as Map<string, Tensor>;
  const named = new Map([...whole].map(([name, t]) => [`encoder.${name}`, t]));
  for (const [name, t] of tree.flatten(encoder.load(named))) assert.is(t, whole.get(name), name);
  assert.equal([...whole.keys()].at(-1), "localconv.weight");
  const without = tree.flatten(encoder.load(dict("backbone."))) as Map<string, Tensor>;
  assert.is(without.get("backbone.conv1.weight"), own.get("conv1.weight"));
  assert.equal(without.get("localconv.weight")!.shape, [5, 8, 1, 1]);
  const { output, statistics } = encoder.applyTraining(encoder.init(key), image);
  assert.equal(output.shape, [2, 5, 6, 5]);
  assert.ok(
    Object.keys(statistics).every((name) => whole.has(name)),
    "names of the statistics",
  );
});

test("resNet() and others throw on bad options with the fix", () => {
  refuses(() => resNet({ depth: 20 as any }), /depth is one of 18, 34, 50, 101, 152, got 20/);
  refuses(() => resNet({ depth: 18, layers: [1] }), /either depth or both block and layers/);
  refuses(() => resNet({ layers: [1] }), /either depth or both block and layers/);
  refuses(() => resNet({ ...small, layers: [1, 1, 1, 1, 1] }), /one to four stages/);
  refuses(
    () => resNet({ depth: 50, replaceStrideWithDilation: [true] }),
    /each of the 3 stages after the first, got \[true\]/,
  );
  refuses(() => resNet({ depth: 50, dilation: 2 } as any), /unknown option "dilation"; it takes depth/);
  const model = resNet(small);
  const params = model.init(key);
  refuses(() => model.apply(params, zeros([1, 3, 8, 8])), /the input is \[N, 1, height, width\], got Tensor/);
  refuses(
    () => model.apply(params, zeros([1, 1, 4, 3]), { train: true }),
    /one pixel is left at an output stride of 4/,
  );
  assert.equal(model.apply(params, zeros([1, 1, 4, 3])).shape, [1, 8, 1, 1]);
});

test.run();
