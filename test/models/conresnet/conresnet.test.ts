// deno-lint-ignore-file no-explicit-any
/** ConResNet's parts: standardized kernels, gate, residuals, initial values, options and errors. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice,
  compile,
  loadParameters,
  random,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
  weightStandardize,
  zeros,
} from "../../../engine/mod.ts";
import { conResNet, conResNetArms, type ConResNetConfig } from "../../../models/mod.ts";
import { assertClose } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

test.after(() => closeDevice());

const key = (seed = 0): Tensor => random.key(seed);
const small = { inputChannels: 2, classes: 3, features: [8, 16, 16], blocks: [1, 1, 1, 1], groups: 4 } as const;
const image = tensor(noise(2 * 2 * 5 * 6 * 7, 3), { shape: [2, 2, 5, 6, 7] });

test("conResNet() standardizes kernels: their scale and mean change nothing, those of the heads do", async () => {
  const model = conResNet(small);
  const params = model.init(key(1));
  const apply = compile((p: any) => model.apply(p, image)) as any;
  const change = (heads: boolean): any =>
    tree.map(params, (p: Tensor, path) => (p.rank === 5 && /cls/.test(path) === heads ? p.mul(1.5).add(0.25) : p));
  const [plain, moved, other] = [await apply(params), await apply(change(false)), await apply(change(true))];
  for (const [k, y] of plain.entries()) {
    const wanted = { shape: y.shape, data: await y.data() };
    await assertClose(moved[k], wanted, 1e-4, `output ${k}`);
    const data = await other[k].data();
    assert.ok(data.some((v: number, i: number) => Math.abs(v - wanted.data[i]) > 0.1));
  }
  const kernel = tree.flatten(params).get("conv_32_64.2.weight")!;
  const filters = await weightStandardize(kernel)
    .reshape({ shape: [16, 8 * 27] })
    .array();
  for (const filter of filters as number[][]) {
    const mean = filter.reduce((a, b) => a + b, 0) / filter.length;
    const variance = filter.reduce((a, b) => a + (b - mean) ** 2, 0) / (filter.length - 1);
    assert.ok(Math.abs(mean) < 1e-6 && Math.abs(variance - 1) < 1e-5, `mean ${mean}, variance ${variance}`);
  }
});

test("conResNet() gates by F (1 + attention); without attention F passes, and the baseline has no gate", async () => {
  for (
    const [config, gates] of [
      [small, true],
      [{ ...small, attention: false }, false],
      [{ ...small, mapping: false }, false],
    ] as const
  ) {
    const model = conResNet(config);
    const maps = model.contextMaps(model.init(key(2)), image);
    assert.equal(
      maps.map(({ features }) => features.shape),
      [
        [2, 8, 5, 6, 7],
        [2, 8, 3, 3, 4],
      ],
    );
    for (const { features, gated, attention } of maps) {
      assert.is(attention === null, "mapping" in config);
      const wanted = gates ? features.mul(attention!.add(1)) : features;
      await assertClose(gated, { shape: gated.shape, data: await wanted.data() }, 1e-6, "gated");
      if (!attention) continue;
      const values = await attention.data();
      assert.ok(values.every((v) => v >= 0 && v <= 1) && values.some((v) => v > 0.01 && v < 0.99));
    }
  }
});

test("conResNet() sees residuals along its own axis alone", async () => {
  // An image constant along an axis: with 1 x 1 x 1 convolutions alone features would be too, so only the first
  // residual, that of the image, is sure to be 0. Its kernel then changes nothing.
  const flat = tensor(noise(2 * 6 * 7, 4), { shape: [1, 2, 1, 6, 7] });
  const constant = flat.add(zeros([1, 2, 8, 6, 7]));
  for (
    const [axis, blind] of [
      ["axial", true],
      ["coronal", false],
      ["sagittal", false],
    ] as const
  ) {
    const model = conResNet({ ...small, axis });
    const params = model.init(key(3));
    const altered = tree.map(
      params,
      (p: Tensor, path) => path.includes("mp_first") ? random.normal(key(9), { shape: p.shape }) : p,
    );
    const [a, b] = await Promise.all([params, altered].map((p) => model.apply(p, constant)[1].data()));
    const change = Math.max(...a.map((v, i) => Math.abs(v - b[i])));
    assert.is(change === 0, blind, `${axis}: changed by ${change}`);
  }
});

test("conResNet() has outputs by configuration, takes any size, and treats samples of a batch alone", async () => {
  const shapes = (config: ConResNetConfig, x: Tensor): number[][] => {
    const model = conResNet(config);
    return model.apply(model.init(key()), x).map((y) => [...y.shape]);
  };
  const [regions, classes] = [
    [2, 3, 5, 6, 7],
    [2, 2, 5, 6, 7],
  ];
  assert.equal(shapes(small, image), [regions, regions, regions]);
  assert.equal(shapes({ ...small, multiClass: true }, image), [regions, classes, classes]);
  assert.equal(shapes({ ...small, mapping: false }, image), [regions]);
  const deep = { inputChannels: 1, classes: 1, features: [4, 4, 4, 4, 4], blocks: [1, 1, 1, 1, 1, 1], groups: 2 };
  const names = [...tree.flatten(conResNet(deep).init(key())).keys()];
  for (
    const name of [
      "conv_256_512.2.weight",
      "layer5.0.conv2.weight",
      "seg_x8.0.conv_mp_first.weight",
      "resx8_cls.0.bias",
    ]
  ) {
    assert.ok(names.includes(name), name);
  }
  assert.is(shapes(deep, zeros([1, 1, 1, 3, 17])).length, 5);

  const model = conResNet(small);
  const params = model.init(key(4));
  const both = model.apply(params, image);
  for (const n of [0, 1]) {
    const alone = model.apply(params, image.slice({ start: [n], end: [n + 1] }));
    for (const [k, y] of both.entries()) {
      const part = y.slice({ start: [n], end: [n + 1] });
      await assertClose(part, { shape: part.shape, data: await alone[k].data() }, 1e-5, `sample ${n}, output ${k}`);
    }
  }
});

test("conResNet() drops whole channels in training alone, by the key", async () => {
  const model = conResNet({ ...small, dropout: 0.5 });
  const params = model.init(key(5));
  const data = (options: any): Promise<any> => model.apply(params, image, options)[0].data();
  const [still, first, again, second] = [
    await data({}),
    await data({ train: true, key: key(1) }),
    await data({ train: true, key: key(1) }),
    await data({ train: true, key: key(2) }),
  ];
  assert.equal(first, again);
  assert.not.equal(first, second);
  assert.not.equal(first, still);
  assert.equal(await data({ key: key(1) }), still);
  assert.throws(() => model.apply(params, image, { train: true }), /needs a key/);
  const certain = conResNet({ ...small, dropout: 0 });
  assert.equal(await certain.apply(params, image, { train: true })[0].data(), still);
});

test("conResNet().init() draws PyTorch's kernels and biases of heads, norms of 1 and 0, gates of 0; gain fan He's heads", async () => {
  for (const gain of ["none", "fan"] as const) {
    const params = tree.flatten(conResNet({ ...small, learnedGate: true, gain }).init(key(6))) as Map<string, Tensor>;
    for (const [name, p] of params) {
      const data = Array.from(await p.data());
      const [isHead, isHeadBias] = [/cls\.0\.weight/.test(name), /cls\.0\.bias/.test(name)];
      if (p.rank === 1 && !isHeadBias) {
        const wanted = Number(/gn\w*\.weight|\.0\.weight/.test(name));
        assert.ok(
          data.every((v) => v === wanted),
          `${name} starts at ${wanted}`,
        );
        continue;
      }
      // torch.nn.Conv3d: weight and bias are uniform within 1 / sqrt(fan in). He: within sqrt(6 / fan in).
      const { shape, size } = isHeadBias ? params.get(name.replace("bias", "weight"))! : p;
      const bound = Math.sqrt((isHead && gain === "fan" ? 6 : 1) / (size / shape[0]));
      assert.ok(
        data.every((v) => Math.abs(v) <= bound),
        `${name} lies within ${bound}`,
      );
      const own = Math.sqrt(data.reduce((total, v) => total + v * v, 0) / data.length) * Math.sqrt(3);
      // The deviation of v^2 is 0.89 of its mean.
      assert.ok(Math.abs(own / bound - 1) < 3 / Math.sqrt(data.length), `${name}: ${own} for ${bound}`);
      assert.ok(isHeadBias || new Set(data).size > data.length / 2);
    }
    assert.equal([...params.keys()].filter((name) => name.endsWith("gate")), ["seg_x2.0.gate", "seg_x1.0.gate"]);
  }
});

test("conResNet() with gain fan is the published network with kernels times sqrt(2 / fan in)", async () => {
  const [gained, free] = [
    conResNet({ ...small, gain: "fan" }),
    conResNet({ ...small, weightStandardization: false }),
  ];
  const params = gained.init(key(8));
  // Standardized in float64.
  const scaled = new Map<string, Tensor>();
  for (const [name, p] of tree.flatten(params) as Map<string, Tensor>) {
    if (p.rank !== 5 || /cls/.test(name)) {
      scaled.set(name, p);
      continue;
    }
    const [data, length] = [Array.from(await p.data()), p.size / p.shape[0]];
    const values = data.map((v, i) => {
      const filter = data.slice(i - i % length, i - i % length + length);
      const mean = filter.reduce((a, b) => a + b, 0) / length;
      const variance = filter.reduce((a, b) => a + (b - mean) ** 2, 0) / (length - 1);
      return (v - mean) / Math.sqrt(variance) * Math.sqrt(2 / length);
    });
    scaled.set(name, tensor(values, { shape: p.shape }));
  }
  const wanted = free.apply(loadParameters(params, scaled), image);
  for (const [k, y] of gained.apply(params, image).entries()) {
    await assertClose(y, { shape: y.shape, data: await wanted[k].data() }, 1e-4, `output ${k}`);
  }
  // The published function is the default, so a configuration without the entry has it.
  assert.is(conResNet(small).config.gain, "none");
  const deviation = async (model: ReturnType<typeof conResNet>): Promise<number> => {
    const values = Array.from(await model.contextMaps(params, image)[0].features.data());
    return Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  };
  const [small1, large] = [await deviation(gained), await deviation(conResNet(small))];
  assert.ok(large > 5 * small1 && small1 < 2, `${small1}, ${large}`);
});

test("conResNet() with a learned gate begins as the mapping alone, and gates by F (1 + g attention)", async () => {
  const [model, mapping] = [
    conResNet({ ...small, learnedGate: true }),
    conResNet({ ...small, attention: false }),
  ];
  const params = model.init(key(9));
  const plain = tree.flatten(params) as Map<string, Tensor>;
  for (const name of [...plain.keys()]) if (name.endsWith("gate")) plain.delete(name);
  const wanted = mapping.apply(loadParameters(mapping.init(key(0)), plain), image);
  for (const [k, y] of model.apply(params, image).entries()) {
    await assertClose(y, { shape: y.shape, data: await wanted[k].data() }, 1e-6, `output ${k}`);
  }
  const moved = tree.map(params, (p: Tensor, path) => path.endsWith("gate") ? tensor([-0.75]) : p);
  for (const { features, gated, attention } of model.contextMaps(moved, image)) {
    const data = await features.mul(attention!.mul(-0.75).add(1)).data();
    await assertClose(gated, { shape: gated.shape, data }, 1e-6, "gated");
  }
  const slope = compile((p: any) =>
    valueAndGrad((q: any) => model.apply(q, image)[0].mul(model.apply(q, image)[0]).mean())(p)[1]
  ) as any;
  const gates = [...tree.flatten(await slope(params)) as Map<string, Tensor>].filter(([name]) => name.endsWith("gate"));
  for (const [name, g] of gates) assert.ok(Math.abs(await g.item()) > 1e-6, `${name} learns`);
});

test("conResNet().init() gives the arms of a seed the same values wherever both have a parameter", async () => {
  const [full, mapping, baseline] = (["full", "mapping", "baseline"] as const).map((arm) =>
    tree.flatten(conResNet({ ...small, ...conResNetArms[arm] }).init(key(7))) as Map<string, Tensor>
  );
  for (const arm of [mapping, baseline]) {
    let same = 0;
    for (const [name, values] of arm) {
      const other = full.get(name);
      if (!other || String(other.shape) !== String(values.shape)) continue;
      assert.equal(await values.data(), await other.data(), name);
      same++;
    }
    // All but what reads another number of channels.
    assert.ok(same > 0.9 * arm.size, `${same} of ${arm.size}`);
  }
});

test("conResNet() throws on bad options with the fix", () => {
  const refused = (change: any, pattern: RegExp) => refuses(() => conResNet({ ...small, ...change }), pattern);
  refused({ width: 3 }, /unknown option "width"; it takes inputChannels/);
  refused({ features: [8] }, /two scales or more, got \[8\]/);
  refused({ features: [8, 12, 20], groups: 8 }, /groups divides all features \[8, 12, 20\], got 8/);
  refused({ blocks: [1, 1, 1] }, /one per scale and one for the dilated stage, 4, got \[1, 1, 1\]/);
  refused({ blocks: 2 }, /blocks lists/);
  refused({ classes: 0 }, /classes is an integer >= 1/);
  refused({ classes: 1, multiClass: true }, /the background counts, got 1/);
  refused({ mapping: false, attention: true }, /needs mapping/);
  refused({ axis: "z" }, /"axial", "coronal" or "sagittal", got "z"/);
  refused({ dropout: 1 }, /in \[0, 1\)/);
  refused({ dilation: 0.5 }, /dilation is an integer/);
  refused({ mapping: "no" }, /mapping is true or false/);
  refused({ gain: "he" }, /gain is "none" or "fan", got "he"/);
  refused({ gain: "fan", weightStandardization: false }, /it needs weightStandardization/);
  refused({ learnedGate: true, attention: false }, /it needs attention/);
  refused({ learnedGate: 1 }, /learnedGate is true or false/);
  const model = conResNet(small);
  const params = model.init(key());
  assert.throws(
    () => model.apply(params, zeros([1, 3, 8, 8, 8])),
    /the input is \[N, 2, depth, height, width\], got \[1, 3, 8, 8, 8\]/,
  );
  assert.throws(() => model.apply(params, zeros([1, 2, 0, 8, 8])), /the input is/);
  const thin = conResNet({ ...small, features: [4, 4, 4] });
  assert.throws(() => thin.apply(thin.init(key()), zeros([1, 2, 4, 4, 3])), /one voxel is left.*larger than 4/);
});

test.run();
