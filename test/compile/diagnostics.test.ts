// deno-lint-ignore-file no-explicit-any
/** What the engine tells about programs: detectAnomaly, profile, plan. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { compile, detectAnomaly, evaluate, grad, ones, Tensor, tensor } from "../../engine/mod.ts";
import { floorsOf, kernelTable, type KernelTime } from "../../engine/gpu/kernel_table.ts";
import { Recorder } from "../../engine/gpu/profile.ts";
import { mse } from "../../engine/nn/mod.ts";
import { noise } from "../helpers/noise.ts";
import { message } from "../helpers/refuse.ts";

const anomaly = (f: () => Promise<unknown>): Promise<string> => message(() => detectAnomaly(f));
const noisy = (shape: number[], seed = 1): Tensor =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    { shape },
  );

const infinity = (f: () => Promise<unknown>): Promise<string> => message(() => detectAnomaly(f, { infinities: true }));

test("detectAnomaly() names the first operator that gives NaN and its line, though later ones hide it", async () => {
  const told = await anomaly(async () => tensor([1, 0, -1]).log().isNaN().sum().item());
  assert.match(
    told,
    /^log, the output Tensor\(f32\[3\]\) of Tensor\(f32\[3\]\), called at \/\S*diagnostics\.test\.ts:\d+:\d+: 1 of 3 values are NaN$/,
  );
  const all = await infinity(async () => tensor([1, 0, -1]).log().mul(0).exp().isNaN().sum().item());
  assert.match(all, /^log, .*: 2 of 3 values are not finite$/);
  const hidden = await infinity(async () => vg.where(tensor([true, false]), 1, tensor([1, 2]).div(0)).data());
  assert.match(hidden, /^div, the output Tensor\(f32\[2\]\) of .*: 2 of 2 values/);
});

test("detectAnomaly() passes an intended -Infinity, as of masked attention, and finds a NaN behind it", async () => {
  const scores = tensor([[1, 2, 3], [4, 5, 6]]);
  const attention = (mask: Tensor): Tensor => vg.softmax(vg.where(mask, scores, -Infinity), { axis: 1 });
  const some = tensor([[true, false, true], [true, true, false]]);
  const weights = await detectAnomaly(() => attention(some).sum({ axes: [1] }).data());
  assert.ok([...weights].every((w) => Math.abs(w - 1) < 1e-6));
  const none = tensor([[true, false, true], [false, false, false]]);
  assert.match(await anomaly(() => attention(none).data()), /^softmax, .*: 3 of 6 values are NaN$/);
});

test("detectAnomaly() sees composites, reductions and convolutions", async () => {
  const overflow = await infinity(async () =>
    vg
      .softmax(ones([4]).mul(3e38).add(3e38))
      .sum()
      .item()
  );
  assert.match(overflow, /^add, /);
  assert.match(await infinity(() => ones([10]).mul(1e38).sum().item()), /^sum, the output Tensor\(f32\[\]\)/);
  const conv = (): Tensor => vg.conv2d(ones([1, 1, 3, 3]).mul(1e30), ones([1, 1, 2, 2]).mul(1e30));
  assert.match(await infinity(() => conv().data()), /^conv2d, called at \S* \(conv, .*\): 4 of 4 values/);
});

test("detectAnomaly() names the operator whose derivative is at fault, and where that was called", async () => {
  const loss = (x: Tensor): Tensor => {
    const root = x.sqrt();
    return root.mul(x).sum();
  };
  // d sqrt(x) x = 0.5 / sqrt(x) * x + sqrt(x), and 0 / 0 at 0.
  const told = await anomaly(() => grad(loss)(tensor([1, 0, 4])).data());
  assert.match(
    told,
    /^the derivative of sqrt of Tensor\(f32\[3\]\), called at \S*diagnostics\.test\.ts:\d+:\d+ \(div, .*\): 1 of 3 values are NaN$/,
  );
  const line = Number(/test\.ts:(\d+)/.exec(told)![1]);
  const forward = await anomaly(() => grad(loss)(tensor([1, -1])).data());
  assert.match(forward, /^sqrt, /);
  assert.is(Number(/test\.ts:(\d+)/.exec(forward)![1]), line, "the line of the call of sqrt");
  const pole = await infinity(() => grad((x: Tensor) => x.sqrt().sum())(tensor([1, 0, 4])).data());
  assert.match(pole, /^the derivative of sqrt .*: 1 of 3 values are not finite$/);
});

test("detectAnomaly() names what the script called where it consists of several operators", async () => {
  const zero = vg.zeros([2, 4]);
  const at = String.raw`called at \S*diagnostics\.test\.ts:\d+:\d+`;
  const cases: [() => Tensor, string][] = [
    [() => vg.rmsNorm(zero, { eps: 0 }), `^rmsNorm, ${at} \\(mul, the output .*\\): 8 of 8 values are NaN$`],
    [() => vg.layerNorm(zero, { eps: 0 }), `^layerNorm, ${at} \\(groupNorm, `],
    [() => zero.norm({ ord: -1 }), `^norm, ${at} \\(`],
    [() => mse(tensor([Infinity]), tensor([Infinity])), `^mse, ${at} \\(sub, `],
    [() => grad((x: Tensor) => x.std())(zero), `^the derivative of std \\(square of .*\\), ${at} \\(mul, `],
  ];
  for (const [f, told] of cases) assert.match(await anomaly(() => f().data()), new RegExp(told));
});

test("detectAnomaly() looks into compiled functions, and at what they are given", async () => {
  const f = compile((x: Tensor, rate: Tensor) => x.div(rate));
  assert.match(await infinity(() => f(ones([3]), 0)), /^div, .*3 of 3/);
  assert.match(await anomaly(() => f(tensor([1, NaN]), 1)), /^an input tensor Tensor\(f32\[2\]\): 1 of 2 values/);
  const donating = compile((x: Tensor) => x.mul(2), { donate: [0] });
  const given = await evaluate(ones([3]).add(1));
  const out = await detectAnomaly(() => donating(given));
  assert.equal([...(await out.data())], [4, 4, 4]);
  assert.match(await message(() => given.data()), /donated/);
  const through = compile((x: Tensor, y: Tensor) => [x, y], { donate: [0] });
  const [a, b] = await evaluate([ones([2]).add(1), ones([2]).add(2)]);
  const [c, d] = await detectAnomaly(() => through(a, b));
  assert.equal([[...(await c.data())], [...(await d.data())], [...(await b.data())]], [[2, 2], [3, 3], [3, 3]]);
});

test("detectAnomaly() gives the result of what is sound, and looks no more afterwards", async () => {
  const sound = (): Promise<vg.TypedArray> => tensor([4, 9]).sqrt().data();
  assert.equal([...(await detectAnomaly(sound))], [2, 3]);
  assert.equal([...(await tensor([-1]).log().isNaN().data())], [1]);
  await message(() => detectAnomaly(() => tensor([-1]).log().data()));
  assert.equal([...(await tensor([-1]).log().isNaN().data())], [1], "after an error too");
  assert.match(await message(() => detectAnomaly(3 as never)), /^detectAnomaly: the argument is a function, got 3/);
  assert.match(
    await message(() => detectAnomaly(sound, { inf: true } as never)),
    /^detectAnomaly: unknown option "inf"; it takes infinities$/,
  );
});

test("profile() counts dispatches, bytes and operations of kernels exactly", async () => {
  const [a, b] = await evaluate([noisy([64, 32]), noisy([32, 48], 2)].map((x) => x.add(0)));
  const x = await evaluate(noisy([1, 3, 6, 7, 8]).add(0));
  const w = await evaluate(noisy([4, 3, 3, 3, 3]).add(0));
  const p = await vg.profile(async () => {
    await evaluate(a.mul(2).add(1));
    await evaluate(vg.matmul(a, b));
    await evaluate(vg.conv3d(x, w, { padding: 1 }));
    return "result";
  });
  assert.is(p.result, "result");
  assert.is(p.dispatches.length, 3);
  const [map, product, conv] = p.dispatches;
  assert.is(map.kernel, "add+mul");
  assert.is(map.bytes, 2 * 4 * 64 * 32);
  assert.is(map.flops, 2 * 64 * 32);
  assert.match(product.kernel, /^matmul/);
  assert.is(product.bytes, 4 * (64 * 32 + 32 * 48 + 64 * 48));
  assert.is(product.flops, 2 * 64 * 32 * 48);
  assert.match(conv.kernel, /^conv_forward/);
  assert.is(conv.bytes, 4 * (x.size + w.size + 4 * 6 * 7 * 8));
  assert.is(conv.flops, 2 * 27 * 3 * 4 * 6 * 7 * 8);
});

test("profile() gives a table and a trace whose events are in order", async () => {
  const step = compile((x: Tensor) => vg.softmax(vg.matmul(x, x)).square().sum());
  const x = noisy([96, 96]);
  await step(x);
  const p = await vg.profile(async () => {
    for (let k = 0; k < 3; k++) await step(x);
  });
  const [info] = step.programs();
  assert.equal(
    p.dispatches.map((d) => d.kernel),
    [...info.kernels, ...info.kernels, ...info.kernels],
  );
  p.dispatches.forEach((d, k) => {
    assert.ok(d.milliseconds >= 0 && d.start >= (p.dispatches[k - 1]?.start ?? 0), `dispatch ${k} at ${d.start}`);
  });
  assert.is(p.dispatches[0].start, 0);
  assert.ok(Math.abs(p.milliseconds - p.kernels.reduce((sum, k) => sum + k.milliseconds, 0)) < 1e-6);
  assert.is(
    p.kernels.reduce((sum, k) => sum + k.dispatches, 0),
    p.dispatches.length,
  );
  const lines = p.table().split("\n");
  assert.is(lines.length, p.kernels.length + 1);
  assert.match(lines[0], /^kernel +ms +share +dispatches +MB +GB\/s +MFLOP +GFLOP\/s$/);
  assert.ok(p.kernels.every((k, i) => lines[i + 1].startsWith(k.kernel)));
  const { traceEvents } = JSON.parse(p.trace());
  const events = traceEvents.filter((e: any) => e.ph === "X");
  assert.equal(
    events.map((e: any) => e.name),
    p.dispatches.map((d) => d.kernel),
  );
  events.forEach((e: any, k: number) => {
    assert.ok(Math.abs(e.ts - p.dispatches[k].start * 1000) < 1e-3 && e.dur >= 0 && e.args.bytes > 0, e.name);
  });
});

test("profile() ends with an error of what it runs, and one at a time", async () => {
  assert.match(
    await message(() =>
      vg.profile(() =>
        ones([1])
          .add(NaN)
          .reshape({ shape: [2] })
          .data()
      )
    ),
    /^reshape: /,
  );
  const nested = await vg.profile(() => message(() => vg.profile(async () => 1)));
  assert.is(nested.result, "profile: another profile is being taken");
  assert.is((await vg.profile(() => ones([8]).sum().item())).result, 8);
});

test("Recorder.add() sums up, merges times that overlap, and keeps only the latest dispatches", async () => {
  const recorder = new Recorder(3);
  const [p, q] = [{}, {}] as GPUComputePipeline[];
  const of = (kernel: string, pipeline: GPUComputePipeline, bytes: number) => {
    return { kernel, pipeline, bytes, flops: 1, matrix: false };
  };
  // Milliseconds from begin to end; the second of the first submission overlaps the first, the clock steps back once.
  const stamps = (...times: number[]) => Promise.resolve(BigUint64Array.from(times, (t) => BigInt(1e9 + t * 1e6)));
  recorder.add([of("a", p, 4), of("b", q, 4)], stamps(0, 10, 6, 12));
  recorder.add([of("a", p, 4), of("a", p, 8)], stamps(20, 21, 30, 35));
  recorder.add([of("a", p, 4)], stamps(40, 43));
  recorder.add([of("c", q, 4)], Promise.reject(new Error("device lost")));
  recorder.add([of("b", q, 4)], stamps(51, 50));
  assert.is(await recorder.settled().catch((error: Error) => error.message), "device lost");
  assert.is(recorder.count, 6);
  assert.is(recorder.covered, 12 + 1 + 5 + 3);
  assert.equal(recorder.kernels(), [
    {
      kernel: "a",
      dispatches: 4,
      milliseconds: 19,
      bytes: 20,
      flops: 4,
      costs: [
        { bytes: 4, flops: 1, matrix: false, dispatches: 3 },
        { bytes: 8, flops: 1, matrix: false, dispatches: 1 },
      ],
    },
    {
      kernel: "b",
      dispatches: 2,
      milliseconds: 6,
      bytes: 8,
      flops: 2,
      costs: [{ bytes: 4, flops: 1, matrix: false, dispatches: 2 }],
    },
  ]);
  // The first of "a" on 4 bytes took 10 instead of 2 ms, the first of "b" 6 instead of 0.
  assert.equal(
    recorder.warmKernels().map((k) => [k.kernel, k.milliseconds]),
    [["(compiling at first dispatches)", 14], ["a", 11], ["b", 0]],
  );
  assert.equal(recorder.dispatches().map((d) => d.start), [40, 51]);
});

/** A kernel whose dispatches cost [bytes, flops, matrix] each. */
function timed(kernel: string, milliseconds: number, ...costs: [number, number, boolean?][]): KernelTime {
  const all = costs.map(([bytes, flops, matrix = false]) => ({ bytes, flops, matrix, dispatches: 1 }));
  const sum = (key: "bytes" | "flops"): number => all.reduce((total, cost) => total + cost[key], 0);
  return { kernel, dispatches: all.length, milliseconds, bytes: sum("bytes"), flops: sum("flops"), costs: all };
}

test("table() tells the part of the nearer roof, and the sum of the floors of single dispatches", () => {
  const kernels = [
    // 4 MB take 2 ms at 2 GB/s; of the other dispatch 10 MFLOP take 1 ms at 10 GFLOP/s, so 3 ms, not the 2.4 of sums.
    timed("both", 6, [4e6, 1e6], [1e5, 1e7]),
    timed("computes", 1, [1e5, 5e6]),
    timed("multiplies f16", 1, [1e5, 5e6, true]),
    timed("too short", 0, [4, 0]),
    timed("(compiling)", 9),
  ];
  const ends = (text: string): (string | undefined)[] =>
    text.split("\n").slice(0, -1).map((line) => line.trim().split(/ {2,}/).slice(-2).join(" "));
  const table = kernelTable(kernels, { gigabytesPerSecond: 2, gigaflopsPerSecond: 10 });
  assert.equal(ends(table), ["floor ms of roof", "3.000 50.0%", "0.500 50.0%", "0.500 50.0%", "0.000 -", "- -"]);
  const line = "Sum of floors: 4.000 of 8.000 ms in kernels (50.0%); bound by ";
  assert.match(table, `\n${line}memory 2.000, by f32 2.000, by matrices 0.000`);
  // At 50 GFLOP/s of matrices the product is bound by them: 0.1 ms, against 0.05 ms for its bytes.
  const roofs = { gigabytesPerSecond: 2, gigaflopsPerSecond: 10, matrixGigaflopsPerSecond: 50 };
  assert.is(ends(kernelTable(kernels, roofs))[3], "0.100 10.0%");
  assert.match(kernelTable(kernels, roofs), "bound by memory 2.000, by f32 1.500, by matrices 0.100");
  assert.match(kernelTable(kernels, undefined, 1), /\nboth .*\nand 4 more with 64\.7% of the time$/);
});

test("floorsOf() counts equal dispatches, and none takes no time", () => {
  const roofs = { gigabytesPerSecond: 2, gigaflopsPerSecond: 10, matrixGigaflopsPerSecond: 40 };
  assert.equal(floorsOf([], roofs), { memory: 0, arithmetic: 0, matrices: 0, total: 0 });
  const costs = [
    { bytes: 8e6, flops: 0, matrix: false, dispatches: 3 },
    { bytes: 0, flops: 2e7, matrix: true, dispatches: 2 },
    { bytes: 0, flops: 2e7, matrix: false },
  ];
  assert.equal(floorsOf(costs, roofs), { memory: 12, arithmetic: 2, matrices: 1, total: 15 });
});

test("plan() tells what a program needs before anything runs, and programs() the same afterwards", async () => {
  const f = compile(
    (p: Tensor, x: Tensor, rate: Tensor) => {
      const g = grad((v: Tensor) => vg.conv2d(x, v, { padding: 1 }).tanh().square().mean())(p);
      return p.sub(g.mul(rate));
    },
    { donate: [0] },
  );
  const [p, x] = [ones([4, 2, 3, 3]), ones([1, 2, 16, 16])];
  assert.is(f.programs().length, 0);
  const before = vg.memoryStats();
  const plan = await f.plan(p, x, 0.1);
  assert.is(vg.memoryStats().arena - before.arena, plan.arenaBytes);
  // The result lies in the donated parameters.
  assert.is(plan.peakBytes, plan.arenaBytes + 4 * (p.size + x.size + 1));
  assert.is(plan.kernels.length, plan.dispatches);
  await f(await evaluate(p.add(0)), x, 0.2);
  assert.equal(f.programs(), [plan], "one program for both");
  await f.plan(p, ones([2, 2, 16, 16]), 0.1);
  assert.is(f.programs().length, 2);
  f.dispose();
  assert.is(vg.memoryStats().arena, before.arena);
});

test.after(vg.closeDevice);
test.run();
