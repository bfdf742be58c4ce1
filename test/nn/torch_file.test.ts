/** readWeights() of files that torch.save of PyTorch 1.13 wrote, and of pickles that want to run something. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, readWeights, type Tensor, VoxgradError } from "../../engine/mod.ts";
import { near } from "../helpers/compare.ts";

const folder = fileURLToPath(new URL("../golden/torch/", import.meta.url));
const refused = async (source: string | Uint8Array, wanted: RegExp): Promise<void> => {
  const error = await readWeights(source).then(() => null, (e: Error) => e);
  assert.ok(error instanceof VoxgradError && wanted.test(error.message), `${error}`);
};

test("readWeights() takes network_weights out of a checkpoint with optimizer, NumPy's numbers and settings", async () => {
  const wanted = JSON.parse(readFileSync(`${folder}checkpoint.json`, "utf8")) as Record<string, number[]>;
  const { tensors, name } = await readWeights(`${folder}checkpoint.pth`);
  assert.equal([...tensors.keys()], Object.keys(wanted));
  assert.match(name, /checkpoint\.pth$/);
  for (const [key, t] of tensors) near(await t.data(), wanted[key], 1e-6, key);
  assert.equal([...tensors.get("conv.weight")!.shape], [2, 1, 3, 3, 3]);
});

test("readWeights() reads parts and turned views of storages, every type, and what is empty", async () => {
  const { tensors } = await readWeights(`${folder}state.pth`);
  const at = (key: string): Tensor => tensors.get(key)!;
  const base = (i: number, j: number, k: number): number => (i * 3 + j) * 4 + k;
  assert.equal([...at("part").shape], [1, 3, 2]);
  assert.equal([...await at("part").data()], [0, 1, 2].flatMap((j) => [1, 2].map((k) => base(1, j, k))));
  assert.equal([...at("turned").shape], [4, 2, 3]);
  const turned = [0, 1, 2, 3].flatMap((k) => [0, 1].flatMap((i) => [0, 1, 2].map((j) => base(i, j, k))));
  assert.equal([...await at("turned").data()], turned);
  const values = async (key: string): Promise<[string, number[]]> => [at(key).dtype, [...await at(key).data()]];
  assert.equal(await values("half"), ["f32", [1.5, -2]]);
  assert.equal(await values("brain"), ["f32", [1.5, -2]]);
  assert.equal(await values("double"), ["f32", [Math.fround(0.1)]]);
  assert.equal(await values("long"), ["i32", [2 ** 31 - 1, -5]]);
  assert.equal(await values("byte"), ["u32", [3, 255]]);
  assert.equal((await values("flag"))[1], [1, 0]);
  assert.equal([at("scalar").shape, at("empty").shape, at("param").shape], [[], [0, 3], [2]]);
  assert.equal([...(await readWeights(`${folder}protocol4.pth`)).tensors.keys()], ["w"]);
});

test("readWeights() refuses whole modules and the format before PyTorch 1.6, and says how to save", async () => {
  await refused(`${folder}module.pth`, /module\.pth: the pickle names "torch\.nn\.modules\.container\.Sequential"/);
  await refused(`${folder}legacy.pth`, /before PyTorch 1\.6; load it there and save it again/);
});

const bytes = (...parts: (string | number)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => typeof part === "number" ? [part] : [...part].map((c) => c.charCodeAt(0))));
const torchZip = (pickle: Uint8Array, data: Record<string, Uint8Array> = {}): Uint8Array =>
  zipSync({ "a/data.pkl": pickle, ...data }, { level: 0 });
const word = (n: number): string => String.fromCharCode(...new Uint8Array(Uint32Array.of(n).buffer));
const key = (text: string): string => `X${word(text.length)}${text}`;
/** A tensor [size] with this stride of a float storage of `count` numbers. */
const tensorOf = (size: number, stride: number, count: number): string =>
  `ctorch._utils\n_rebuild_tensor_v2\n((${key("storage")}ctorch\nFloatStorage\n${key("0")}${key("cpu")}J${
    word(count)
  }tQK\x00J${word(size)}\x85K${String.fromCharCode(stride)}\x85\x89}tR`;

test("readWeights() runs nothing that a pickle names", async () => {
  // Each of these runs a command when Python loads it.
  await refused(torchZip(bytes("cos\nsystem\n(X", word(4), "true", "tR.")), /names "os\.system", which is not read/);
  await refused(torchZip(bytes("cbuiltins\neval\n(", key("1"), "tR.")), /"builtins\.eval"/);
  await refused(torchZip(bytes(0x80, 4, 0x8c, 5, "posix", 0x8c, 6, "system", 0x93, ".")), /"posix\.system"/);
  await refused(torchZip(bytes("ctorch._utils\n_rebuild_tensor_v2\n.")), /no weights by name/);
  await refused(torchZip(bytes("c__proto__\nconstructor\n.")), /names "__proto__\.constructor"/);
  await refused(torchZip(bytes("(ios\nsystem\n.")), /opcode 0x69 is not read/);
});

test("readWeights() refuses shapes beyond the numbers of the file, and structures without end", async () => {
  const data = { "a/data/0": new Uint8Array(Float32Array.of(1, 2, 3).buffer) };
  const { tensors } = await readWeights(torchZip(bytes("}", key("w"), tensorOf(3, 1, 3), "s."), data));
  assert.equal([...await tensors.get("w")!.data()], [1, 2, 3]);
  await refused(torchZip(bytes("}", key("w"), tensorOf(4, 1, 3), "s."), data), /reaches beyond its 3 numbers/);
  // Ten gigabytes from one number.
  await refused(
    torchZip(bytes("}", key("w"), tensorOf(2_147_483_647, 0, 1), "s."), data),
    /reaches beyond its 1 numbers/,
  );
  await refused(torchZip(bytes("}", key("w"), tensorOf(3, 1, 99), "s."), data), /take 396 bytes and the file has 12/);
  await refused(torchZip(bytes("}", key("w"), tensorOf(3, 1, 3), "s.")), /take 12 bytes and the file has 0/);
  // A list that holds itself, and a dictionary as its own weights.
  await refused(torchZip(bytes("]q\x00h\x00a.")), /no weights by name/);
  await refused(torchZip(bytes("}q\x00", key("state_dict"), "h\x00s.")), /no weights by name/);
  await refused(torchZip(bytes("(".repeat(10), "t".repeat(11), ".")), /there is no mark/);
  await refused(torchZip(bytes("X", word(2 ** 31 - 1), "abc.")), /ends too early/);
  await refused(torchZip(bytes()), /ends too early/);
  await refused(zipSync({ "a/data.pkl": bytes("}.") }, { level: 9 }), /is compressed|no weights/);
  await refused(zipSync({ other: bytes("}.") }, { level: 0 }), /holds no data\.pkl/);
  await refused(bytes("PK", 3, 4), /the zip is damaged|holds no data\.pkl/);
  // A zip64 directory that counts 2^31 files is not walked through.
  const many = new Uint8Array(readFileSync(`${folder}checkpoint.pth`));
  const view = new DataView(many.buffer);
  const wide = many.length - 22 - 20 - 56;
  assert.is(view.getUint32(wide, true), 0x06064b50);
  view.setUint32(wide + 32, 2 ** 31, true);
  await refused(many, /it counts more files than it can hold/);
});

test("readWeights() tells damage by checksums, in 400 files", async () => {
  const whole = readFileSync(`${folder}state.pth`);
  const right = (await readWeights(whole)).tensors;
  const wanted = await Promise.all([...right].map(async ([name, t]) => [name, [...await t.data()]]));
  let seed = 11;
  const next = (n: number): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
  for (let k = 0; k < 400; k++) {
    const damaged = Uint8Array.from(whole);
    for (let d = 0; d <= next(3); d++) damaged[next(damaged.length)] = next(256);
    try {
      const { tensors } = await readWeights(next(5) === 0 ? damaged.subarray(0, next(damaged.length)) : damaged);
      // What was hit is no part of the weights, such as a date.
      assert.equal(await Promise.all([...tensors].map(async ([name, t]) => [name, [...await t.data()]])), wanted);
    } catch (error) {
      assert.ok(error instanceof VoxgradError, `file ${k}: ${(error as Error).stack}`);
    }
  }
});

test.after(closeDevice);
test.run();
