/**
 * The store of prepared cases: made once, made again when something has changed, killed and resumed, within its cap.
 */
import { spawn } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import * as imaging from "../../../engine/imaging/mod.ts";
import type { Dataset, Plan } from "../../../engine/imaging/mod.ts";
import { ContentHash } from "../../../engine/imaging/volume/content_hash.ts";
// Networks register the rules that plans are made by.
import "../../../models/mod.ts";
import { failure } from "../../helpers/refuse.ts";

let root: string;
let data: string;
let dataset: Dataset;
let plan: Plan;
const CASES = 5;

test.before(async () => {
  root = await mkdtemp(join(tmpdir(), "voxgrad-store-"));
  data = join(root, "data");
  await imaging.writePhantomDataset(data, { cases: CASES, seed: 3, shape: [18, 20, 16], spacing: [1.3, 1.3, 2] });
  dataset = await imaging.openDataset(data);
  plan = imaging.makePlan(dataset, await imaging.fingerprintDataset(dataset), {
    preset: "small",
    spacing: [1.5, 1.3, 1.3],
  });
});
test.after(() => rm(root, { recursive: true, force: true }));

async function assertSame(a: imaging.CaseStore, b: imaging.CaseStore): Promise<void> {
  assert.equal(a.ids, b.ids);
  for (const id of a.ids) assert.equal(await a.get(id), await b.get(id), id);
}

test("openCaseStore() reads cases back as they were prepared and prepares none twice", async () => {
  const folder = join(root, "twice");
  const first = await imaging.openCaseStore(dataset, plan, { folder });
  assert.equal([first.made, first.kept], [CASES, 0]);
  const second = await imaging.openCaseStore(dataset, plan, { folder });
  assert.equal([second.made, second.kept, second.memory()], [0, CASES, 0]);
  await assertSame(first, second);
  const item = await second.get(second.ids[0]);
  const direct = await imaging.preprocessCase(await imaging.loadCase(dataset, dataset.cases[0]), plan);
  assert.equal(item, direct);
  assert.ok(item.foreground.length > 0 && item.image.length === item.shape.reduce((a, b) => a * b));
});

test("openCaseStore() and fingerprintDataset() give the same results with worker threads", async () => {
  const folder = join(root, "threads");
  const threads = await imaging.openCaseStore(dataset, plan, { folder, workers: 2 });
  assert.is(threads.made, CASES);
  await assertSame(threads, await imaging.openCaseStore(dataset, plan, { folder: join(root, "alone") }));
  const [alone, together] = [
    await imaging.fingerprintDataset(dataset),
    await imaging.fingerprintDataset(dataset, { workers: 2 }),
  ];
  assert.equal(together, alone);
});

test("openCaseStore() prepares again after a changed file, a changed plan and a damaged case", async () => {
  const copy = join(root, "copy");
  await cp(data, copy, { recursive: true });
  const own = await imaging.openDataset(copy);
  const folder = join(root, "changed");
  const open = (p = plan) => imaging.openCaseStore(own, p, { folder });
  assert.is((await open()).made, CASES);
  const { label } = own.cases[1];
  const volume = await imaging.readVolume(label!);
  const values = volume.data.slice();
  values[values.length >> 1] = values[values.length >> 1] === 1 ? 0 : 1;
  await writeFile(label!, vg.writeNifti({ ...volume, data: values }, { gzip: true, dtype: "uint8" }));
  const changed = await open();
  assert.equal([changed.made, changed.kept], [1, CASES - 1]);
  // What a training alone uses of a plan makes no difference.
  assert.is((await open({ ...plan, batch: 7, patch: [8, 8, 8] })).kept, CASES);
  assert.is((await open({ ...plan, spacing: [2, 1.3, 1.3] })).made, CASES);

  const store = await open();
  const [id] = store.ids;
  const wanted = await imaging.preprocessCase(await imaging.loadCase(own, own.cases[0]), plan);
  await truncate(join(folder, `${id}.safetensors`), 1000);
  const damaged = await imaging.openCaseStore(own, plan, { folder, memory: 0 });
  assert.equal(await damaged.get(id), wanted);
  // A file of another plan beside the key of this one, as a stop between the two leaves it.
  await imaging.openCaseStore(own, { ...plan, spacing: [3, 1.3, 1.3] }, { folder: join(root, "other"), ids: [id] });
  await cp(join(root, "other", `${id}.safetensors`), join(folder, `${id}.safetensors`));
  const mixed = await imaging.openCaseStore(own, plan, { folder, memory: 0 });
  assert.equal([mixed.kept, await mixed.get(id)], [CASES, wanted]);
});

test("openCaseStore() killed at any time continues with the cases that are whole", async () => {
  const folder = join(root, "killed");
  const file = join(root, "prepare.mjs");
  const engine = new URL("../../../engine/imaging/mod.ts", import.meta.url).href;
  await writeFile(
    file,
    `const vg = await import(${JSON.stringify(engine)});
await vg.openCaseStore(await vg.openDataset(${JSON.stringify(data)}), ${JSON.stringify(plan)}, { folder: ${
      JSON.stringify(folder)
    } });`,
  );
  const register = fileURLToPath(new URL("../../../engine/platform/cli/register.mjs", import.meta.url));
  const child = spawn(process.execPath, ["--import", register, file], {
    cwd: fileURLToPath(new URL("../../..", import.meta.url)),
    stdio: "ignore",
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const present = async (): Promise<string[]> => readdir(folder).catch(() => []);
  const deadline = Date.now() + 60_000;
  while (!(await present()).some((name) => name.endsWith(".key")) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  child.kill("SIGKILL");
  await ended;
  const whole = (await present()).filter((name) => name.endsWith(".key")).length;
  assert.ok(whole >= 1);
  // What a kill in the middle of writing leaves; no process has that number.
  await writeFile(join(folder, ".4194305.0.tmp"), "half a case");
  const resumed = await imaging.openCaseStore(dataset, plan, { folder });
  assert.equal([resumed.kept, resumed.made], [whole, CASES - whole]);
  assert.equal(
    (await present()).filter((name) => name.endsWith(".tmp")),
    [],
  );
  await assertSame(resumed, await imaging.openCaseStore(dataset, plan, { folder: join(root, "alone") }));
});

test("store.get() keeps memory below the cap, and the case used last in it", async () => {
  const folder = join(root, "alone");
  const { size } = await stat(join(folder, `${dataset.cases[0].id}.safetensors`));
  const store = await imaging.openCaseStore(dataset, plan, { folder, memory: 2.5 * size });
  const seen = new Map<string, unknown>();
  for (const id of [...store.ids, ...store.ids]) {
    seen.set(id, await store.get(id));
    assert.ok(store.memory() <= 2.5 * size);
    assert.is(await store.get(id), seen.get(id));
  }
  assert.ok(store.memory() > size);
  const none = await imaging.openCaseStore(dataset, plan, { folder, memory: 0 });
  const [id] = none.ids;
  const [a, b] = await Promise.all([none.get(id), none.get(id)]);
  assert.is(a, b);
  assert.is(none.memory(), 0);
});

test("openCaseStore() prepares all but the faulty cases and names their files, from threads too", async () => {
  const copy = join(root, "broken");
  await cp(data, copy, { recursive: true });
  const own = await imaging.openDataset(copy);
  const [first, broken] = [own.cases[0], own.cases[2]];
  const bytes = await readFile(broken.images[0]);
  await writeFile(broken.images[0], bytes.subarray(0, bytes.length >> 1));
  await writeFile(first.label!, "no label map");
  for (const workers of [0, 2]) {
    const folder = join(root, `broken-${workers}`);
    const error = await failure(() => imaging.openCaseStore(own, plan, { folder, workers }));
    assert.instance(error, imaging.DatasetError);
    assert.match(error.message, /2 of 5 cases cannot be prepared/);
    assert.ok(error.message.includes(`case ${broken.id}: ${broken.images[0]}`), error.message);
    assert.ok(error.message.includes(`case ${first.id}: ${first.label}`), error.message);
    // What was ready stays, and is there once the files are mended.
    const mended = await imaging.openCaseStore(dataset, plan, { folder });
    assert.equal([mended.kept, mended.made], [3, 2]);
  }
  const odd = await failure(() => imaging.openCaseStore(dataset, plan, { folder: root, ids: ["nobody"] }));
  assert.match(odd.message, /nobody is no case of/);
  const store = await imaging.openCaseStore(dataset, plan, { folder: join(root, "alone") });
  assert.match((await failure(() => store.get("nobody"))).message, /no case nobody/);
  assert.match(
    (await failure(() => imaging.fingerprintDataset(dataset, { workers: -1 }))).message,
    /workers: .* got -1/,
  );
});

test("openCaseStore() makes a prepared case again of which one bit of one voxel has changed", async () => {
  const folder = join(root, "flipped");
  const store = await imaging.openCaseStore(dataset, plan, { folder, memory: 0 });
  const [id] = store.ids;
  const good = await store.get(id);
  const file = join(folder, `${id}.safetensors`);
  const bytes = await readFile(file);
  const whole = Buffer.from(bytes);
  bytes[bytes.length >> 1] ^= 1;
  await writeFile(file, bytes);
  const again = await store.get(id);
  assert.equal(again.image, good.image);
  assert.equal(again.label, good.label);
  assert.ok(whole.equals(await readFile(file)));
});

test("ContentHash.digest() depends on every bit, byte order and length", () => {
  const hash = (...parts: Uint8Array[]): string => {
    const h = new ContentHash();
    for (const part of parts) h.bytes(part);
    return h.digest();
  };
  const bytes = Uint8Array.from({ length: 37 }, (_, i) => (i * 101) & 255);
  const seen = new Set([hash(bytes)]);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const other = bytes.slice();
    other[bit >> 3] ^= 1 << (bit & 7);
    seen.add(hash(other));
  }
  for (let n = 0; n < 37; n++) seen.add(hash(bytes.subarray(0, n))).add(hash(bytes.subarray(n), bytes.subarray(0, n)));
  // 1 + 296 changed bits, 37 beginnings, 37 splits, of which none is another.
  assert.is(seen.size, 1 + 296 + 37 + 37);
  assert.is(hash(new Uint8Array([...bytes, 0]).subarray(0, 37)), hash(bytes));
});

test.run();
