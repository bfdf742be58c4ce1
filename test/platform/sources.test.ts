/** Files from wherever they are: the same bytes, or an error that says what is wanted. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runInNewContext } from "node:vm";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type FileSource, loadSafetensors, ones, readSafetensors, saveSealed } from "../../engine/mod.ts";
import { readPlan, writePlan } from "../../engine/imaging/mod.ts";
import { loadModel, saveModel } from "../../engine/train/mod.ts";
import { readSource } from "../../engine/platform/sources.ts";
import { handleOf } from "./folder_handle.ts";
import { planFor } from "../helpers/plans.ts";
import { message } from "../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad sources %-"));
const bytes = Uint8Array.from({ length: 1000 }, (_, k) => k * 7);
const path = join(folder, "a file.bin");
await writeFile(path, bytes);
const server = createServer((request, response) => {
  if (request.url === "/file.bin") return void response.end(bytes);
  if (request.url === "/short") {
    response.writeHead(200, { "content-length": "500" });
    return void response.write(bytes.subarray(0, 10), () => response.destroy());
  }
  response.writeHead(request.url === "/busy" ? 503 : 404).end();
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
test.after(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

const blob = new Blob([bytes]);
/** As a page's FileSystemFileHandle. */
const handle = { kind: "file", name: "chosen.bin", getFile: async () => new File([bytes], "other.bin") } as const;
const padded = new Uint8Array(1010);
padded.set(bytes, 5);
const sources: Record<string, [FileSource, name: string]> = {
  "a path": [path, path],
  "a file: URL": [pathToFileURL(path), path],
  "a file: address": [pathToFileURL(path).href, path],
  "an http: URL": [new URL(`${host}/file.bin`), `${host}/file.bin`],
  "an http: address": [`${host}/file.bin`, `${host}/file.bin`],
  "a data: address": [`data:application/octet-stream;base64,${Buffer.from(bytes).toString("base64")}`, "data"],
  "a blob: address": [URL.createObjectURL(blob), "blob:"],
  "a Blob": [blob, "data"],
  "a File": [new File([bytes], "mine.bin"), "mine.bin"],
  "a file handle": [handle, "chosen.bin"],
  "an ArrayBuffer": [bytes.buffer, "data"],
  "an ArrayBuffer of another realm": [runInNewContext("new Uint8Array(1000).map((_, k) => k * 7).buffer"), "data"],
  "a Uint8Array": [padded.subarray(5, 1005), "data"],
};
for (const [kind, [source, name]] of Object.entries(sources)) {
  test(`readSource() reads ${kind}`, async () => {
    const read = await readSource(source);
    assert.equal([...read.bytes], [...bytes]);
    assert.ok(name === "blob:" ? read.name.startsWith(name) : read.name === name, read.name);
  });
}

test("readSource() says what a server answers, and what no server does", async () => {
  assert.is(
    await message(() => readSource(`${host}/none`)),
    `Cannot fetch ${host}/none: the server answers 404 Not Found`,
  );
  assert.match(await message(() => readSource(new URL(`${host}/busy`))), /busy: the server answers 503/);
  assert.match(await message(() => readSource(`${host}/short`)), /short: the connection ended early/);
  assert.match(await message(() => readSource("http://127.0.0.1:9/x")), /^Cannot fetch http:\/\/127\.0\.0\.1:9\/x: \S/);
  assert.match(await message(() => readSource(`${path}x`)), /there is no such file/);
  assert.match(await message(() => readSource(pathToFileURL(`${path}x`))), /there is no such file/);
});

test("readSource() refuses other values and says what it takes", async () => {
  const wanted = /: wanted a path, a URL, a Blob or File, an ArrayBuffer or Uint8Array, or a FileSystemFileHandle/;
  for (const value of [undefined, null, 3, {}, [path], () => path, Symbol("x")]) {
    assert.match(await message(() => readSource(value as FileSource)), wanted);
  }
  const directory = { kind: "directory", name: "scans" } as unknown as FileSource;
  assert.match(await message(() => readSource(directory)), /^Cannot read the folder scans as a file: wanted/);
});

test("readSafetensors(), readPlan() and loadModel() read sources and name them in errors", async () => {
  const weights = await saveSealed({ weight: ones([3]) });
  const read = await readSafetensors(new File([weights], "w.safetensors"));
  assert.equal([[...read.tensors.keys()], read.sealed, read.name], [["weight"], true, "w.safetensors"]);
  assert.equal(
    await (read.tensors.get("weight")!).data(),
    await loadSafetensors(weights).tensors.get("weight")!.data(),
  );
  weights[weights.length - 1] ^= 1;
  assert.match(
    await message(() => readSafetensors(new File([weights], "w.safetensors"))),
    /^w\.safetensors: .*damaged/,
  );

  const plan = planFor({});
  await writePlan(join(folder, "plan.json"), plan);
  assert.equal(await readPlan(new Blob([JSON.stringify(plan)])), plan);
  assert.equal(await readPlan(pathToFileURL(join(folder, "plan.json"))), plan);
  assert.match(await message(() => readPlan(new File(["{"], "mine.json"))), /^mine\.json: it is no JSON/);

  const { name: network, ...architecture } = plan.network;
  const file = await saveModel({ weight: ones([3]) }, { network, architecture, plan });
  assert.equal((await loadModel(file)).description.plan, plan);
  await mkdir(join(folder, "run/fold_0"), { recursive: true });
  await writeFile(join(folder, "run/fold_0/model.safetensors"), file);
  const run = handleOf(join(folder, "run/fold_0"));
  const loaded = await loadModel(run);
  assert.equal([loaded.description.plan, loaded.file], [plan, "mounted:fold_0/model.safetensors"]);
  assert.match(await message(() => loadModel(handleOf(join(folder, "run")))), /run\/model\.safetensors/);
});

test.run();
