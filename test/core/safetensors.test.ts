// deno-lint-ignore-file no-explicit-any
/** The safetensors format: files written by hand from its specification, round trips, malformed headers. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  closeDevice,
  loadParameters,
  loadPretrained,
  loadSafetensors,
  readSafetensors,
  SafetensorsError,
  saveSafetensors,
  saveSealed,
  Tensor,
  tensor,
  tree,
  VoxgradError,
} from "../../engine/mod.ts";
import { thrown } from "../helpers/refuse.ts";

/** A file from a header (text or object) and data bytes; `length` lies about the header where given. */
function file(header: string | object, data: ArrayLike<number> = [], length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}
const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const entry = (dtype: string, shape: unknown, from: number, to: number): object => ({
  dtype,
  shape,
  data_offsets: [from, to],
});

function refuses(bytes: Uint8Array, pattern: RegExp): void {
  const error = thrown(() => loadSafetensors(bytes), SafetensorsError);
  assert.instance(error, VoxgradError);
  assert.match(error.message, pattern);
}

const read: [string, ArrayBufferView, string, number[]][] = [
  ["F32", new Float32Array([1.5, -0, 3e38]), "f32", [1.5, -0, Math.fround(3e38)]],
  ["F64", new Float64Array([1.1, Infinity, -1e-300]), "f32", [Math.fround(1.1), Infinity, -0]],
  // 1, -2, 65504, the least subnormal, a subnormal, infinity
  [
    "F16",
    new Uint16Array([0x3c00, 0xc000, 0x7bff, 0x0001, 0x83ff, 0x7c00, 0x3555]),
    "f32",
    [1, -2, 65504, 2 ** -24, -1023 * 2 ** -24, Infinity, 0.333251953125],
  ],
  ["BF16", new Uint16Array([0x3f80, 0xc040, 0x7f80, 0x3eab]), "f32", [1, -3, Infinity, 0.333984375]],
  ["I64", new BigInt64Array([5n, -(2n ** 31n), 2n ** 31n - 1n]), "i32", [5, -(2 ** 31), 2 ** 31 - 1]],
  ["I32", new Int32Array([-7, 2 ** 31 - 1]), "i32", [-7, 2 ** 31 - 1]],
  ["I16", new Int16Array([-32768, 9]), "i32", [-32768, 9]],
  ["I8", new Int8Array([-128, 127]), "i32", [-128, 127]],
  ["U64", new BigUint64Array([2n ** 32n - 1n]), "u32", [2 ** 32 - 1]],
  ["U32", new Uint32Array([2 ** 32 - 1, 0]), "u32", [2 ** 32 - 1, 0]],
  ["U16", new Uint16Array([65535]), "u32", [65535]],
  ["U8", new Uint8Array([255, 3]), "u32", [255, 3]],
  ["BOOL", new Uint8Array([1, 0, 1]), "bool", [1, 0, 1]],
];
for (const [dtype, values, want, numbers] of read) {
  test(`loadSafetensors() reads ${dtype} as ${want}`, async () => {
    const { tensors } = loadSafetensors(
      file({ x: entry(dtype, [numbers.length, 1], 0, values.byteLength) }, bytesOf(values)),
    );
    const x = tensors.get("x")!;
    assert.is(x.dtype, want);
    assert.equal(x.shape, [numbers.length, 1]);
    assert.equal(Array.from(await x.data()), numbers);
  });
}

test("loadSafetensors() keeps NaN in every float type", async () => {
  for (
    const [dtype, values] of [
      ["F16", new Uint16Array([0x7e00])],
      ["BF16", new Uint16Array([0x7fc0])],
      ["F64", new Float64Array([NaN])],
    ] as const
  ) {
    const { tensors } = loadSafetensors(file({ x: entry(dtype, [1], 0, values.byteLength) }, bytesOf(values)));
    assert.ok(Number.isNaN((await tensors.get("x")!.data())[0]), dtype);
  }
});

test("loadSafetensors() reads scalars, empty tensors, odd offsets, padded headers and metadata", async () => {
  const header = {
    __metadata__: { format: "pt" },
    one: entry("BOOL", [], 0, 1),
    none: entry("F32", [0, 3], 1, 1),
    odd: entry("F32", [1], 1, 5),
  };
  const { tensors, metadata } = loadSafetensors(
    file(`${JSON.stringify(header)}   `, [1, ...bytesOf(new Float32Array([2.5]))]),
  );
  assert.equal(metadata, { format: "pt" });
  assert.equal([...tensors.keys()], ["one", "none", "odd"]);
  assert.equal([tensors.get("one")!.shape, tensors.get("none")!.shape], [[], [0, 3]]);
  assert.equal(Array.from(await tensors.get("odd")!.data()), [2.5]);
  assert.is(loadSafetensors(file({})).tensors.size, 0);
});

test("saveSafetensors() writes what the specification says, byte for byte", async () => {
  const bytes = await saveSafetensors(
    new Map<string, Tensor>([
      ["flag", tensor([true, false, true])],
      ["10", tensor([[1, 2]])],
      ['a"b', tensor(new Int32Array([-1]))],
      ["9", tensor(new Uint32Array([7]), { shape: [] })],
    ]),
    { note: "x" },
  );
  const header = '{"__metadata__":{"note":"x"},"10":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},' +
    '"a\\"b":{"dtype":"I32","shape":[1],"data_offsets":[8,12]},' +
    '"9":{"dtype":"U32","shape":[],"data_offsets":[12,16]},"flag":{"dtype":"BOOL","shape":[3],"data_offsets":[16,19]}}';
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
  const want = file(padded, [...bytesOf(new Float32Array([1, 2])), 255, 255, 255, 255, 7, 0, 0, 0, 1, 0, 1]);
  assert.equal(bytes, want);
});

test("saveSafetensors() and loadSafetensors() round-trip trees with names, order, dtypes and values", async () => {
  const params: any = {
    stages: [
      {
        weight: tensor(
          Float32Array.from({ length: 30 }, (_, i) => Math.sin(i)),
          { shape: [2, 3, 5] },
        ),
      },
      { bias: tensor([0.5]).mul(3) },
    ],
    skip: { 1: { count: tensor(new Int32Array([4]), { shape: [] }) } },
    mask: tensor([[true], [false]]),
  };
  const bytes = await saveSafetensors(params);
  assert.equal(await saveSafetensors(params), bytes, "the same tensors give the same bytes");
  const { tensors } = loadSafetensors(bytes);
  const again = loadParameters(params, tensors);
  for (const [name, t] of tree.flatten(params)) {
    const back: Tensor = tree.flatten(again).get(name)!;
    assert.equal([back.dtype, back.shape, await back.data()], [t.dtype, t.shape, await t.data()], name);
  }
  assert.equal(Object.keys(again), Object.keys(params));
  assert.ok(Array.isArray(again.stages));
});

test("loadParameters() takes several dtypes and names every entry that does not fit", async () => {
  const template = {
    conv: { weight: tensor(new Float32Array(4), { shape: [2, 2] }), bias: tensor(new Float32Array(2)) },
    norm: { weight: tensor(new Float32Array(2)), running_mean: tensor(new Float32Array(2)) },
  };
  const parts: [string, string, number[], ArrayBufferView][] = [
    ["conv.weight", "F16", [2, 2], new Uint16Array([0x3c00, 0x4000, 0x4200, 0xc000])],
    ["conv.bias", "F32", [2], new Float32Array([0.5, -1])],
    ["norm.weight", "BF16", [2], new Uint16Array([0x3f80, 0xc040])],
    ["norm.running_mean", "F64", [2], new Float64Array([3, 4])],
    ["norm.num_batches_tracked", "I64", [], new BigInt64Array([1000n])],
  ];
  const stored = (list: typeof parts): Map<string, Tensor> => {
    let at = 0;
    const header: Record<string, object> = {};
    for (const [name, dtype, shape, data] of list) header[name] = entry(dtype, shape, at, at += data.byteLength);
    return loadSafetensors(file(header, list.flatMap(([, , , data]) => [...bytesOf(data)]))).tensors;
  };
  const { conv, norm } = loadParameters(template, stored(parts));
  assert.equal(await conv.weight.array(), [[1, 2], [3, -2]]);
  assert.equal([await conv.bias.array(), await norm.weight.array()], [[0.5, -1], [1, -3]]);
  const wrong = parts.slice(1);
  wrong[0] = ["conv.bias", "F32", [3], new Float32Array(3)];
  wrong.push(["head.weight", "F32", [1], new Float32Array(1)]);
  const refused =
    /1 missing: conv\.weight; 1 unexpected: head\.weight; 1 of another.*: conv\.bias \(f32 \[3\] for f32 \[2\]\)/;
  assert.throws(() => loadParameters(template, stored(wrong)), refused);
});

test("loadPretrained() takes all but a head for other classes, and names what it reinitializes", async () => {
  const template = (classes: number, deep: number, value: number) => ({
    stem: { weight: tensor(new Float32Array(4).fill(value), { shape: [2, 2] }) },
    seg_layers: Array.from(
      { length: deep },
      () => ({ weight: tensor(new Float32Array(2 * classes).fill(value), { shape: [classes, 2] }) }),
    ),
  });
  const head = /(^|\.)seg_layers\./;
  const load = (wanted: object, stored: object, options = {}) =>
    loadPretrained(wanted as any, tree.flatten(stored), { head, ...options });
  const firsts = async (params: any) => {
    const values = [params.stem, ...params.seg_layers].map(async ({ weight }: any) => (await weight.data())[0]);
    return Promise.all(values);
  };
  const same = load(template(3, 2, 0), template(3, 2, 1));
  assert.equal([same.kept, await firsts(same.params)], [[], [1, 1, 1]]);
  const renamed = load(template(3, 2, 0), template(3, 2, 1), { reinitialize: true });
  assert.equal([renamed.kept.length, await firsts(renamed.params)], [2, [1, 0, 0]]);
  const others = load(template(3, 2, 0), template(5, 2, 1));
  assert.equal([others.kept, await firsts(others.params)], [["seg_layers.0.weight", "seg_layers.1.weight"], [1, 0, 0]]);
  const fewer = load(template(3, 2, 0), template(3, 1, 1));
  assert.equal([fewer.kept, await firsts(fewer.params)], [["seg_layers.1.weight"], [1, 1, 0]]);
  assert.equal(load(template(3, 1, 0), template(3, 2, 1)).kept, []);
  const { stem: _, ...rest } = template(3, 2, 1);
  assert.throws(() => load(template(3, 2, 0), rest), /1 missing: stem\.weight/);
  assert.throws(() => load(template(3, 2, 0), { ...template(3, 2, 1), more: tensor([1]) }), /1 unexpected: more/);
});

test("loadSafetensors() throws SafetensorsError on malformed files", () => {
  const four = [0, 0, 0, 0];
  const x = entry("F32", [1], 0, 4);
  refuses(new Uint8Array(7), /7 bytes, the length of the header alone takes 8/);
  refuses(file({ x }, four, 2n ** 63n), /9223372036854775808 bytes/);
  refuses(file({ x }, four, 5000n), /5000 bytes, the file has \d+ in all; it was cut short/);
  refuses(file("", []), /does not begin with \{/);
  refuses(file(" {}"), /does not begin with \{/);
  refuses(file('{"x":'), /not JSON in UTF-8/);
  refuses(file("{}{}"), /not JSON/);
  const broken = file({ ab: x }, four);
  broken[10] = 0xff;
  refuses(broken, /not JSON in UTF-8/);
  refuses(file({ x: 3 }), /tensor "x" is not an object/);
  refuses(file({ x: null }), /tensor "x" is not an object/);
  refuses(file({ __metadata__: [] }), /__metadata__ is not an object/);
  refuses(file({ __metadata__: { a: 1 } }), /__metadata__ holds texts/);
  refuses(file({ x: { ...x, more: 1 } }, four), /unknown field more/);
  refuses(file({ x: entry("F8_E4M3", [4], 0, 4) }, four), /dtype "F8_E4M3"; known are F64/);
  refuses(file({ x: entry("toString", [4], 0, 4) }, four), /dtype "toString"/);
  for (const shape of [[-1], [1.5], ["1"], 1, null]) {
    refuses(file({ x: entry("F32", shape, 0, 4) }, four), /shape is a list/);
  }
  refuses(file({ x: entry("F32", [2 ** 16, 2 ** 16], 0, 4) }, four), /2\^31 elements/);
  refuses(file({ x: entry("U8", [2 ** 53 - 1, 2 ** 53 - 1], 0, 4) }, four), /2\^31 elements/);
  for (const offsets of [[0], [0, -4], ["0", 4], 4, undefined]) {
    refuses(file({ x: { ...x, data_offsets: offsets } }, four), /data_offsets are two/);
  }
  refuses(file({ x: entry("F32", [1], 4, 0) }, four), /lies at bytes 4 to 0 of 4/);
  refuses(file({ x: entry("F32", [2], 0, 8) }, four), /lies at bytes 0 to 8 of 4/);
  refuses(file({ x: entry("F32", [2], 0, 4) }, four), /F32 of shape \[2\] takes 8 bytes, its data_offsets span 4/);
  refuses(
    file({ x, y: entry("F32", [1], 2, 6) }, [...four, ...four]),
    /tensor "y" begins at byte 2 of the data, inside the one before, which ends at 4/,
  );
  refuses(file({ x, y: x }, four), /inside the one before/);
  refuses(
    file({ x, y: entry("F32", [1], 8, 12) }, [...four, ...four, ...four]),
    /tensor "y" begins at byte 8 of the data, after a gap/,
  );
  refuses(file({ x }, [...four, 0]), /the tensors take 4 bytes, the file has 5/);
  refuses(file({}, [0]), /the tensors take 0 bytes/);
});

test("loadSafetensors() throws SafetensorsError on values beyond the dtype", () => {
  const one = (dtype: string, values: ArrayBufferView): Uint8Array =>
    file({ x: entry(dtype, [1], 0, values.byteLength) }, bytesOf(values));
  refuses(one("F64", new Float64Array([1e39])), /tensor "x": the F64 value 1e\+39 is beyond f32/);
  refuses(one("I64", new BigInt64Array([2n ** 31n])), /I64 value 2147483648 is beyond i32/);
  refuses(one("U64", new BigUint64Array([2n ** 32n])), /U64 value 4294967296 is beyond u32/);
  refuses(one("BOOL", new Uint8Array([2])), /a BOOL is 0 or 1, found 2/);
});

test("loadSafetensors() reads or refuses every truncation and every flipped header byte", async () => {
  const good = await saveSafetensors({ a: tensor([1, 2, 3]), b: tensor([true]) }, { k: "v" });
  for (let n = 0; n < good.length; n++) refuses(good.subarray(0, n), /safetensors: /);
  for (let at = 0; at < good.length - 13; at++) {
    for (const flip of [1, 8, 64, 128]) {
      const bad = good.slice();
      bad[at] ^= flip;
      try {
        loadSafetensors(bad);
      } catch (error) {
        assert.instance(error, SafetensorsError, `byte ${at}: ${error}`);
      }
    }
  }
});

test("readSafetensors() refuses a sealed file of which any bit has changed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-seal-"));
  try {
    const path = join(folder, "a.safetensors");
    const good = await saveSealed({ a: tensor([1.5, -2]), b: tensor([true]) }, { note: "x" });
    // The digest is that of the file with zeros in its place.
    const text = new TextDecoder("latin1").decode(good);
    const digits = /"voxgrad sha256":"([0-9a-f]{64})"/.exec(text)!;
    const blank = Buffer.from(text.replace(digits[1], "0".repeat(64)), "latin1");
    assert.is(createHash("sha256").update(blank).digest("hex"), digits[1]);
    await writeFile(path, good);
    const read = await readSafetensors(path);
    assert.equal([read.sealed, read.metadata, Array.from(await read.tensors.get("a")!.data())], [true, { note: "x" }, [
      1.5,
      -2,
    ]]);
    for (let at = 8; at < good.length; at++) {
      const bad = good.slice();
      bad[at] ^= 1 << (at % 8);
      await writeFile(path, bad);
      const error = await readSafetensors(path).then((found) => found, (caught: Error) => caught);
      // Where the entry itself is hit there is no digest any more, or no JSON: never a file that is vouched for.
      if (error instanceof Error) assert.instance(error, SafetensorsError);
      else assert.not.ok(error.sealed, `byte ${at}`);
      if (at >= good.length - 9) assert.match((error as Error).message, /damaged: its SHA-256/);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("saveSafetensors() throws SafetensorsError on names that cannot be written", async () => {
  for (const name of ["", "__metadata__", "__proto__"]) {
    let message = "";
    await saveSafetensors(new Map([[name, tensor([1])]])).catch(
      (error: unknown) => (message = error instanceof SafetensorsError ? error.message : `${error}`),
    );
    assert.match(message, /cannot be called/);
  }
  const { tensors } = loadSafetensors(
    await saveSafetensors(
      new Map([
        ["toString", tensor([1])],
        ["constructor", tensor([2])],
      ]),
    ),
  );
  assert.equal([...tensors.keys()], ["toString", "constructor"]);
});

test.after(() => closeDevice());
test.run();
