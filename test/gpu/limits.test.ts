// deno-lint-ignore-file no-explicit-any
/** Tensors beyond what a binding holds and requests that cannot be met: right, or refused in so many words. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { arange, compile, evaluate, ones, Tensor, tensor, VoxgradError } from "../../engine/mod.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { type Cases, fused, kernels } from "../helpers/limits_cases.ts";
import { message } from "../helpers/refuse.ts";

const KIB = 1024;

/** Runs f on a device of its own, by default without limits but the adapter's. */
async function onDevice<T>(options: vg.DeviceOptions, f: () => Promise<T>): Promise<T> {
  await vg.closeDevice();
  await vg.openDevice(options);
  try {
    return await f();
  } finally {
    await vg.closeDevice();
  }
}

const values = async (f: () => Tensor[]): Promise<ArrayLike<number>[]> => {
  const tensors = await evaluate(f());
  return Promise.all(tensors.map((t) => t.data()));
};

/** The values of each case with the adapter's own limits, computed once. */
const known = new Map<string, ArrayLike<number>[]>();
const unlimited = (cases: Cases): Promise<void> =>
  onDevice({}, async () => {
    for (const [name, f] of Object.entries(cases)) if (!known.has(name)) known.set(name, await values(f));
  });

function agree(name: string, got: ArrayLike<number>[]): void {
  known.get(name)!.forEach((wanted, k) => {
    assert.is(got[k].length, wanted.length, `${name}: length of output ${k}`);
    const error = relativeError(got[k], wanted);
    // Sums of a thousand weights, in parts, round otherwise.
    assert.ok(
      error <= (name.startsWith("attention of long") ? 2e-6 : 1e-6),
      `${name}: output ${k} differs by ${error.toExponential(2)}`,
    );
  });
}

test("evaluate() with bindings of 4 KiB agrees with whole tensors for fused kernels", async () => {
  await unlimited(fused);
  await onDevice({ maxBindingBytes: 4 * KIB }, async () => {
    for (const [name, f] of Object.entries(fused)) agree(name, await values(f));
  });
});

test("evaluate() with bindings of 8 KiB agrees with whole tensors for other kernels", async () => {
  await unlimited(kernels);
  await onDevice({ maxBindingBytes: 8 * KIB }, async () => {
    for (const [name, f] of Object.entries(kernels)) agree(name, await values(f));
  });
});

test("evaluate() with bindings of 1 KiB is right or throws with operator, need and limit", async () => {
  let refused = 0;
  await unlimited(fused);
  await onDevice({ maxBindingBytes: KIB }, async () => {
    for (const [name, f] of Object.entries({ ...fused, ...kernels })) {
      try {
        agree(name, await values(f));
      } catch (error) {
        assert.ok(error instanceof VoxgradError, `${name}: ${(error as Error).stack}`);
        assert.match(error.message, /^[A-Za-z][\w.+]*( \[[\d, ]*\]| on [\w ]+)?: .*\b(1024|256)\b.*; use /, name);
        refused++;
      }
    }
  });
  assert.ok(refused > 10 && refused < Object.keys(fused).length + Object.keys(kernels).length, `${refused} refused`);
});

test("sum() and argmax() over chunks of a binding agree with float64 loops", async () => {
  const data = noise(7 * 613, 3);
  const sums = new Float64Array(613);
  data.forEach((v, k) => (sums[k % 613] += v * v));
  await onDevice({ maxBindingBytes: 4 * KIB }, async () => {
    const x = tensor(data, { shape: [7, 613] });
    assert.ok(
      relativeError(
        await x
          .square()
          .sum({ axes: [0] })
          .data(),
        sums,
      ) < 1e-6,
    );
    assert.is(await x.argmax().item(), data.indexOf(data.reduce((a, b) => Math.max(a, b))));
  });
});

test("compile() overwrites a donated argument of many chunks in place", async () => {
  await onDevice({ maxBindingBytes: 2 * KIB }, async () => {
    const step = compile((p: Tensor, g: Tensor) => p.sub(g.mul(0.5)), { donate: [0] });
    const [p, g] = [noise(3001, 1), noise(3001, 2)];
    const plan = await step.plan(ones([3001]), ones([3001]));
    assert.is(plan.peakBytes, 2 * 3001 * 4, "the result takes no memory of its own");
    assert.is(plan.dispatches, 6);
    const held = await evaluate(tensor(p).add(0));
    const once = await step(held, tensor(g));
    const result = await (await step(once, tensor(g))).data();
    const wanted = p.map((v, k) => Math.fround(Math.fround(v - 0.5 * g[k]) - 0.5 * g[k]));
    assert.equal([...result], [...wanted]);
  });
});

test("compile() does not read a donated argument shifted in place", async () => {
  await onDevice({ maxBindingBytes: 2 * KIB }, async () => {
    const step = compile((p: Tensor) => p.add(vg.flip(p)), { donate: [0] });
    const p = noise(2003, 1);
    const result = await (await step(await evaluate(tensor(p).add(0)))).data();
    assert.equal([...result], [...p.map((v, k) => Math.fround(v + p[2002 - k]))]);
  });
});

test("evaluate() of f16 in chunks is the same, where the adapter has f16", async () => {
  const f = (): Tensor[] => {
    const x = tensor(noise(3001, 1), { dtype: "f16" });
    return [x.mul(3).add(1), vg.concat([x, x.neg()]), x.reshape({ shape: [1, 3001] }).sum({ axes: [0] }), vg.flip(x)];
  };
  const has = await onDevice({}, async () => (await vg.deviceInfo()).features.includes("shader-f16"));
  if (!has) return assert.match(await message(() => values(f)), /f16 needs the WebGPU feature shader-f16/);
  const wanted = await onDevice({}, () => values(f));
  const got = await onDevice({ maxBindingBytes: 2 * KIB }, () => values(f));
  assert.equal(
    got.map((x) => Array.from(x)),
    wanted.map((x) => Array.from(x)),
  );
});

test("gridSample() throws on a channel beyond the binding, and so does its gradient", async () => {
  await onDevice({ maxBindingBytes: KIB }, async () => {
    const [x, grid] = [ones([1, 1, 20, 20]), ones([1, 3, 3, 2]).mul(0.1)];
    const sampled = (v: Tensor, g: Tensor): Tensor => vg.gridSample(v, g).sum();
    assert.is(Math.round(await sampled(x, grid).item()), 9);
    const refusal = await message(() => vg.grad(sampled)(x, grid).data());
    assert.match(refusal, /^gridSample: .*256.*; use /);
  });
});

test("evaluate() folds a grid of more than 65,535 workgroups, for maps and reductions", async () => {
  await onDevice({}, async () => {
    // 8 elements an invocation on a CPU, 64 invocations a workgroup.
    const n = 65536 * 64 * 8;
    const y = await evaluate(arange(n).mul(3));
    const wrong = y.notEqual(arange(n).mul(3)).sum();
    assert.is(await wrong.item(), 0);
    assert.equal([...(await vg.slice(y, { start: [n - 2] }).data())], [3 * (n - 2), 3 * (n - 1)]);
    y.dispose();
    const rows = 65536 * 64 + 3;
    const sums = arange(3 * rows)
      .reshape({ shape: [rows, 3] })
      .sum({ axes: [1] });
    await evaluate(sums);
    assert.is(await sums.notEqual(arange(rows).mul(9).add(3)).sum().item(), 0);
  });
});

test("sum() of 3e7 ones is 3e7, from memory and in chunks", async () => {
  await onDevice({}, async () => {
    assert.is(await ones([3e7]).sum().item(), 3e7);
    const x = await evaluate(ones([3e7]));
    assert.is(await x.sum().item(), 3e7);
    x.dispose();
  });
  const bytes = 16 * 2 ** 20;
  assert.is(await onDevice({ maxBindingBytes: bytes }, () => evaluate(ones([3e7])).then((x) => x.sum().item())), 3e7);
});

const wide = (): Tensor => ones([65536, 1]);
const high = (): Tensor => ones([1, 32768]);
/** What cannot be done, and what the refusal begins with; all name 2^31 or the limit. */
const impossible: Record<string, [() => unknown, RegExp]> = {
  ones: [() => ones([65536, 32768]), /^ones: shape \[65536, 32768\] has 2\^31 elements or more; /],
  "an array on the host": [() => tensor(new Float32Array(3), { shape: [2 ** 31] }), /^tensor: .* 2\^31 /],
  broadcastTo: [() => vg.broadcastTo(wide(), { shape: [65536, 32768] }), /^broadcastTo: .* 2\^31 /],
  "a sum by broadcasting": [() => wide().add(high()), /^add: shape \[65536, 32768\] has 2\^31 /],
  where: [() => vg.where(wide().greater(0), high(), 0), /^where: .* 2\^31 /],
  matmul: [() => vg.matmul(wide(), high()), /^matmul: .* 2\^31 /],
  concat: [() => vg.concat([ones([2 ** 30]), ones([2 ** 30])]), /^concat: .* 2\^31 /],
  stack: [() => vg.stack([ones([2 ** 30]), ones([2 ** 30])]), /^stack: .* 2\^31 /],
  pad: [() => vg.pad(ones([3]), { before: 2 ** 31 }), /^pad: .* 2\^31 /],
  arange: [() => arange(2 ** 31), /^arange: .* 2\^31 /],
  oneHot: [() => vg.oneHot(arange(65536), { classes: 65536 }), /^oneHot: .* 2\^31 /],
  take: [() => vg.take(ones([65536, 2]), vg.zeros([65536], { dtype: "i32" }), { axis: 1 }), /^take: .* 2\^31 /],
  resize: [() => vg.resize(ones([1, 1, 2, 2]), { size: [65536, 32768] }), /^resize: .* 2\^31 /],
  conv2d: [() => vg.conv2d(ones([1, 1, 3, 3]), ones([1, 1, 3, 3]), { padding: 30000 }), /^conv2d: .* 2\^31 /],
  random: [() => vg.random.uniform(vg.random.key(1), { shape: [65536, 32768] }), /^random.uniform: .* 2\^31 /],
  "random.split": [() => vg.random.split(vg.random.key(1), 2 ** 31), /^random.split: .* to 65536, got 2147483648/],
  gridSample: [() => vg.gridSample(ones([1, 4096, 2, 2]), ones([1, 1024, 1024, 2])), /^gridSample: .* 2\^31 /],
  vmap: [() => vg.vmap((a: Tensor) => a.add(ones([65536])))(ones([32768, 1])), /^add: .* 2\^31 /],
  "a size that is NaN": [() => vg.zeros([NaN]), /^zeros: a shape is an array of integers >= 0, got \[NaN\]/],
  "an infinite size": [() => vg.reshape(ones([3]), { shape: [Infinity] }), /^reshape: .* got \[Infinity\]/],
  "a buffer beyond the adapter's": [
    () =>
      ones([2 ** 31 - 1])
        .mul(3)
        .data(),
    /^mul \[2147483647\]: needs 8589934588 bytes in one buffer, the adapter allocates at most \d+; use /,
  ],
};
for (const [name, [f, pattern]] of Object.entries(impossible)) {
  test(`${name}: evaluate() throws VoxgradError with 2^31 or the limit`, async () => {
    assert.match(await message(f), pattern, name);
  });
}

test("conv2d() throws on filters beyond the binding", async () => {
  await onDevice({ maxBindingBytes: KIB }, async () => {
    const f = (): Promise<unknown> => vg.conv2d(ones([1, 8, 9, 9]), ones([4, 8, 3, 3])).data();
    assert.match(await message(f), /^conv: filters \[4, 8, 1, 3, 3\] have more than the 256 elements/);
  });
});

test("openDevice() with a memory limit refuses programs and uploads beyond it, and runs what fits", async () => {
  await onDevice({ memoryLimit: 1e6 }, async () => {
    const draw = (n: number): Tensor => vg.random.normal(vg.random.key(1), { shape: [n] });
    const refusal = await message(() => draw(300_000).data());
    assert.match(refusal, /^random.normal \[300000\]: its program needs 1200000 bytes .*limit is 1000000.*83% of this/);
    const sum = compile((x: Tensor) => [x, x.sum()]);
    const upload = await message(() => sum(tensor(new Float32Array(300_000))));
    assert.match(upload, /^Tensor\(f32\[300000\]\): needs 1200000 bytes besides the \d+ in use, the limit is 1000000/);
    sum.dispose();
    assert.is(vg.memoryStats().live, 0);
    const large = await evaluate(draw(200_000));
    assert.match(
      await message(() => draw(200_000).data()),
      /^random.normal .*: needs 800000 bytes besides the 800008 in use, the limit is 1000000; use /,
    );
    large.dispose();
    // The pool is given back before anything is refused.
    assert.is((await draw(249_000).data()).length, 249_000);
  });
});

test("openDevice() throws on unknown options and bad values", async () => {
  await vg.closeDevice();
  const wrong: any[] = [
    { memoryLimit: -1 },
    { memoryLimit: NaN },
    { maxBindingBytes: 100 },
    { maxBindingBytes: "1" },
    { adapter: 3 },
    { power: "much" },
    { software: 1 },
    { limit: 1 },
    null,
  ];
  for (const options of wrong) {
    assert.match(
      await message(() => vg.openDevice(options)),
      /^openDevice: .*(, got |takes )/,
    );
  }
});

test.after(vg.closeDevice);
test.run();
