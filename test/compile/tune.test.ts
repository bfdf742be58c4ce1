// VariantChoice between variants: the rule without tuning, tune(), what it keeps, and kept choices that do not serve.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import * as vg from "../../engine/mod.ts";
import { closeDevice, compile, conv3d, evaluate, openDevice, type Tensor, tensor, tune } from "../../engine/mod.ts";
import { device } from "../../engine/gpu/mod.ts";
import { fastest } from "../../engine/compile/tune.ts";
import type { Lowered, Target, Variant } from "../../shaders/types.ts";
import { bucket, selectVariant } from "../../shaders/variants.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { message } from "../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-tune-"));
// Read at the first use of the cache.
process.env.VOXGRAD_CACHE = folder;
const file = join(folder, "tuned.json");
test.after(async () => {
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

const lines: string[] = [];
platform.log = (line) => void lines.push(line);

const make = (shape: number[], seed: number): Tensor =>
  tensor(
    noise(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    { shape },
  );
// Odd sizes, a batch, and more channels than a tile has.
const x = (): Tensor => make([2, 3, 5, 7, 9], 1);
const w = (): Tensor => make([5, 3, 3, 3, 3], 2);
const gradients = (x: Tensor, w: Tensor) =>
  vg.valueAndGrad((p: { x: Tensor; w: Tensor }) => conv3d(p.x, p.w, { padding: 1 }).square().sum())({ x, w });

/** Values and kernels of a convolution with its gradients, on the open device or by default choice. */
async function run(): Promise<{ values: number[][]; kernels: readonly string[] }> {
  const f = compile(gradients);
  const [y, g] = await f(x(), w());
  const values = await Promise.all([y, g.x, g.w].map(async (t) => [...(await t.data())]));
  const { kernels } = f.programs()[0];
  f.dispose();
  return { values, kernels };
}

const convKernels = (kernels: readonly string[]): string[] => kernels.filter((name) => name.startsWith("conv_"));
const allGeneric = (kept: vg.TunedKernels): vg.TunedKernels => {
  const change = (works: Readonly<Record<string, vg.TunedChoice>>) =>
    Object.fromEntries(Object.entries(works).map(([work, choice]) => [work, { ...choice, variant: "generic" }]));
  return {
    format: 1,
    adapters: Object.fromEntries(Object.entries(kept.adapters).map(([a, works]) => [a, change(works)])),
  };
};

test("bucket() gives sizes near each other one bucket, and small ones their own", () => {
  assert.equal(
    [1, 2, 3, 4, 5, 6, 11, 12, 22, 23, 24, 32, 45, 46].map(bucket),
    [1, 2, 3, 4, 4, 8, 8, 16, 16, 32, 32, 32, 32, 64],
  );
});

test("selectVariant() takes the named variant, else the tuned one, else the first, and only where its guard holds", () => {
  const lowered = (name: string): Lowered => ({ temps: [], dispatches: [], name }) as Lowered;
  const variant = (name: string, least: number): Variant<number> => ({
    name,
    guard: (size) => size >= least,
    lower: () => lowered(name),
  });
  const variants = [variant("wide", 8), variant("narrow", 2), variant("generic", 0)];
  const taken = (size: number, tuned?: string, name?: string): string => {
    const work = { family: "sum", shape: () => "s", dtype: "f32" as const, inputs: [1], output: 1 };
    const target = { tuned: new Map(tuned ? [["sum s f32", tuned]] : []) } as unknown as Target;
    return (selectVariant(work, variants, size, target, { variant: name }) as unknown as { name: string }).name;
  };
  assert.is(taken(9), "wide");
  assert.is(taken(3), "narrow");
  assert.is(taken(9, "generic"), "generic");
  assert.is(taken(9, "narrow"), "narrow");
  assert.is(taken(3, "wide"), "narrow", "the guard of the tuned one fails");
  assert.is(taken(9, "of an older version"), "wide");
  assert.is(taken(9, "generic", "narrow"), "narrow");
  assert.throws(() => taken(3, "generic", "wide"), /variant wide does not take these sizes; these do: narrow, generic/);
  const target = { tuned: new Map([["sum s f32", "generic"]]) } as unknown as Target;
  const spec = { family: "sum", shape: () => "s", dtype: "f32" as const, inputs: [1], output: 1 };
  const { choice } = selectVariant(spec, variants, 3, target);
  assert.equal(choice!.variants, ["narrow", "generic"], "those that fit, the default first, whatever is tuned");
  assert.is((choice!.lower("narrow") as unknown as { name: string }).name, "narrow");
});

test("tune() replaces the default by what is faster, and not after a disturbance", async () => {
  const watches = (times: Record<string, (run: number) => number>) =>
    new Map(
      Object.entries(times).map(([name, at]) => {
        let run = 0;
        return [name, async () => at(run++)];
      }),
    );
  const found = async (times: Record<string, (run: number) => number>): Promise<string> =>
    (await fastest(watches(times))).variant;
  assert.is(await found({ usual: () => 10, other: () => 5, generic: () => 100 }), "other");
  assert.is(await found({ usual: () => 10, other: () => 9.9 }), "usual", "hardly faster");
  // Other work slows the default down in all rounds, and is over when they are compared.
  assert.is(await found({ usual: (run) => (run < 5 ? 50 : 10), other: () => 12 }), "usual");
  assert.is(await found({ usual: (run) => (run < 4 ? 50 : 10), other: () => 12 }), "usual");
  assert.is(await found({ usual: () => 10, other: (run) => (run === 7 ? 50 : 5) }), "other");
});

test("tune() measures every fitting variant, keeps the fastest, and later runs read it", async () => {
  const plain = await run();
  const rows = await tune(gradients, x(), w());
  assert.equal(rows.map((row) => row.work.replace(/ \d.*/, "")).sort(), [
    "convolution",
    "convolution input gradient",
    "convolution weight gradient",
  ]);
  for (const { work, variant, default: usual, milliseconds } of rows) {
    const times = Object.values(milliseconds);
    assert.ok(times.length >= 2 && times.every((ms) => ms >= 0), work);
    assert.ok("generic" in milliseconds && usual in milliseconds && usual !== "generic", work);
    assert.ok(variant in milliseconds, work);
  }
  const kept = JSON.parse(await readFile(file, "utf8")) as vg.TunedKernels;
  const { name } = await vg.deviceInfo();
  assert.equal(Object.keys(kept.adapters), [name]);
  assert.equal(
    Object.entries(kept.adapters[name]).map(([work, choice]) => [work, choice.variant]),
    rows.map((row) => [row.work, row.variant]),
  );
  const now = await run();
  now.values.forEach((values, k) => assert.ok(relativeError(values, plain.values[k]) < 1e-5));

  await closeDevice();
  assert.equal((await run()).values, plain.values, "without tuning, the same bits as before");
  await closeDevice();
  await openDevice({ tuned: true });
  assert.equal(
    [...(await device()).tuned.variants],
    rows.map((row) => [row.work, row.variant]),
  );
  const again = await run();
  assert.equal(again.kernels, now.kernels);
  assert.equal(again.values, now.values);
  await closeDevice();
});

test("openDevice() with tuned choices changes the kernels and, beyond rounding, nothing else", async () => {
  const plain = await run();
  await closeDevice();
  const kept = JSON.parse(await readFile(file, "utf8")) as vg.TunedKernels;
  await openDevice({ tuned: allGeneric(kept) });
  const generic = await run();
  assert.ok(
    convKernels(plain.kernels).every((kernel) => /\.tile/.test(kernel)),
    plain.kernels.join(),
  );
  assert.ok(
    convKernels(generic.kernels).every((kernel) => /\.generic/.test(kernel)),
    generic.kernels.join(),
  );
  assert.is(convKernels(generic.kernels).length, 3);
  plain.values.forEach((values, k) => {
    const error = relativeError(generic.values[k], values);
    assert.ok(error < 1e-5, `result ${k}: ${error}`);
  });
  // Beside sizes of the same bucket there are others, which nobody tuned.
  const other = await compile((x: Tensor, w: Tensor) => conv3d(x, w, { padding: 1 })).plan(
    make([2, 3, 5, 7, 40], 1),
    w(),
  );
  assert.match(other.kernels.join(), /\.tile/);
  const near = await compile((x: Tensor, w: Tensor) => conv3d(x, w, { padding: 1 })).plan(
    make([2, 3, 5, 7, 10], 1),
    w(),
  );
  assert.match(near.kernels.join(), /\.generic/);
  await closeDevice();
});

test("tune() makes programs compiled before it compile again", async () => {
  const f = compile((x: Tensor, w: Tensor) => conv3d(x, w, { padding: 1 }));
  const [image, filters] = await evaluate([x(), w()]);
  const before = await (await f(image, filters)).data();
  const kernels = async (): Promise<string[]> => (await f.plan(image, filters)).kernels as string[];
  const eager = async (): Promise<string> =>
    (await vg.profile(() => evaluate(conv3d(image, filters, { padding: 1 })))).kernels[0].kernel;
  assert.match((await kernels()).join(), /\.tile/);
  assert.match(await eager(), /\.tile/);
  const [row] = await tune((x: Tensor, w: Tensor) => conv3d(x, w, { padding: 1 }), image, filters);
  // As if generic had been the fastest.
  const { tuned } = await device();
  await tuned.add(row.work, { variant: "generic", among: Object.keys(row.milliseconds) });
  tuned.version++;
  assert.match((await kernels()).join(), /\.generic/);
  assert.match(await eager(), /\.generic/);
  assert.ok(relativeError(await (await f(image, filters)).data(), before) < 1e-5);
  await closeDevice();
});

test("tune() ignores and replaces a cache that is damaged, of another version or of other variants", async () => {
  const plain = await run();
  const { name } = await vg.deviceInfo();
  const good = await readFile(file, "utf8");
  await closeDevice();
  for (const bad of ["{ not JSON", '{"format":0,"adapters":{}}', '{"format":1,"adapters":{"a":{"w":{"variant":3}}}}']) {
    await writeFile(file, bad);
    lines.length = 0;
    await openDevice({ tuned: true });
    assert.match(lines.join(), /cache of tuned kernels .* is ignored/);
    assert.equal((await run()).kernels, plain.kernels);
    await closeDevice();
  }
  const foreign = allGeneric(JSON.parse(good));
  const works = Object.entries(foreign.adapters[name]).map(([work, choice]) => [
    work,
    { ...choice, variant: "of an older version" },
  ]);
  await writeFile(
    file,
    JSON.stringify({ format: 1, adapters: { [name]: Object.fromEntries(works), another: foreign.adapters[name] } }),
  );
  lines.length = 0;
  await openDevice({ tuned: true });
  assert.equal(lines, []);
  assert.equal((await run()).values, plain.values);
  await closeDevice();

  await writeFile(file, "{ not JSON");
  await tune((x: Tensor, w: Tensor) => conv3d(x, w), x(), w());
  assert.equal(Object.keys(JSON.parse(await readFile(file, "utf8")).adapters), [name]);
  await closeDevice();
});

test("tune() keeps the default where there is no memory to measure", async () => {
  const args = [make([1, 2, 12, 12, 12], 1), make([2, 2, 3, 3, 3], 2)] as const;
  const f = (x: Tensor, w: Tensor): Tensor => conv3d(x, w, { padding: 1 });
  await openDevice({ memoryLimit: 20_000 });
  assert.equal(await tune(f, ...args), []);
  await closeDevice();
  await openDevice({ memoryLimit: 200_000 });
  assert.is((await tune(f, ...args)).length, 1);
  await closeDevice();
});

test("tune() throws on wrong arguments", async () => {
  for (const tuned of ["yes", { format: 2, adapters: {} }, { format: 1 }]) {
    assert.match(await message(() => openDevice({ tuned } as never)), /^openDevice: tuned is true, false, or/);
  }
  assert.match(await message(() => tune(3 as never)), /^tune: the first argument is a function, got 3/);
  assert.match(await message(() => tune(async () => x())), /^tune: the function is asynchronous/);
  assert.equal(await tune((x: Tensor) => x.add(1), x()), [], "there is nothing to choose");
});

test.run();
