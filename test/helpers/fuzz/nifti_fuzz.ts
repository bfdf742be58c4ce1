// deno-lint-ignore-file no-explicit-any
// Damages NIfTI files in many ways and reads them: each must be read or rejected
// with NiftiError, within 2 s, and with at most four times the memory that the header and the actual data justify (plus
// 2 MiB of working memory). The test run uses a few hundred inputs; more by hand, also from files of a folder: node
// --import ./engine/platform/cli/register.mjs test/helpers/fuzz/nifti_fuzz.ts 20000 [FOLDER] [SEED]
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gunzipSync, gzipSync } from "node:zlib";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

/** Peak bytes of typed arrays and their buffers since `start`, without garbage where it matters. */
const memory = { before: 0, limit: Infinity, peak: 0, unseen: 0 };
const held = () => process.memoryUsage().arrayBuffers - memory.before;

function allocated(bytes: number): void {
  memory.unseen += bytes;
  if (memory.unseen < 2 ** 18) return;
  memory.unseen = 0;
  let now = held();
  if (now > memory.limit) {
    gc();
    now = held();
  }
  memory.peak = Math.max(memory.peak, now);
}

// The engine's modules and their dependencies capture constructors when they are loaded, so replace these before the
// import below. A huge array costs nothing before it is touched, so count its size as well as the host's figures.
for (
  const name of [
    "ArrayBuffer",
    "Uint8Array",
    "Int8Array",
    "Int16Array",
    "Uint16Array",
    "Int32Array",
    "Uint32Array",
    "Float32Array",
    "Float64Array",
  ] as const
) {
  const real = globalThis[name] as any;
  const slice = real.prototype.slice;
  real.prototype.slice = function (...args: unknown[]) {
    const out = slice.apply(this, args);
    allocated(out.byteLength);
    return out;
  };
  (globalThis as any)[name] = new Proxy(real, {
    construct(target, args, newTarget) {
      const made = Reflect.construct(target, args, newTarget);
      if (!(args[0] instanceof ArrayBuffer)) allocated(made.byteLength);
      return made;
    },
  });
}
const { NiftiError, readNifti, writeNifti } = await import("../../../engine/imaging/mod.ts");
const { makeVolume } = await import("../../../engine/imaging/volume/volume.ts");
const { Prng } = await import("../../../engine/core/prng.ts");
type Random = InstanceType<typeof Prng>;

/** Uncompressed single files of many kinds. */
function ownSeeds(random: Random): Uint8Array[] {
  const affine = [0.7, -0.4, 0.3, -20, 0.34, 0.95, -0.67, 31, 0.02, 0.33, 2.39, 7.5, 0, 0, 0, 1];
  const make = (channels: number, side: number) =>
    makeVolume(
      Float64Array.from({ length: channels * side * 9 * 11 }, () => random.integer(100)),
      { shape: [side, 9, 11], affine, channels },
    );
  const with2 = (v: ReturnType<typeof make>) => {
    const read = readNifti(writeNifti(v));
    const extensions = [
      { code: 6, data: new Uint8Array(24).fill(65) },
      { code: 4, data: new Uint8Array(40) },
    ];
    return { ...read, source: { ...read.source!, version: 2 as const, extensions } };
  };
  const scaled = writeNifti(make(1, 13), { dtype: "uint8" });
  new DataView(scaled.buffer).setFloat32(112, 0.5, true);
  const wide = writeNifti(make(1, 5), { dtype: "float64" });
  new DataView(wide.buffer).setInt16(70, 1024, true); // the same bytes as int64
  wide.fill(0, 352);
  return [
    writeNifti(make(1, 40), { dtype: "uint8" }),
    writeNifti(make(2, 30), { dtype: "int16" }),
    writeNifti(make(1, 20), { dtype: "float32" }),
    writeNifti(with2(make(1, 17)), { dtype: "uint16" }),
    writeNifti(with2(make(3, 5))),
    writeNifti(make(1, 1), { dtype: "int8" }),
    writeNifti(make(1, 200), { dtype: "uint32" }),
    bigEndian(writeNifti(make(1, 25), { dtype: "int32" })),
    scaled,
    wide,
  ];
}

/** A NIfTI-1 file of 4-byte voxels with every field byte-swapped. */
function bigEndian(file: Uint8Array): Uint8Array {
  const out = file.slice();
  const swap = (at: number, width: number, count: number) => {
    for (let k = 0; k < count; k++) out.subarray(at + k * width, at + (k + 1) * width).reverse();
  };
  swap(0, 4, 1);
  swap(40, 2, 8);
  swap(56, 4, 3);
  swap(68, 2, 4);
  swap(76, 4, 11);
  swap(252, 2, 2);
  swap(256, 4, 18);
  swap(352, 4, (out.length - 352) / 4);
  return out;
}

const EXTREMES = [0, 1, 2, 127, 128, 255];
const INTEGERS = [0, 1, -1, 2, 7, 8, 255, 256, 32767, -32768, 65535, 2 ** 31 - 1, -(2 ** 31)];
const REALS = [0, -0, 1, -1, 348, 352, 353, 1e9, 1e38, -1e38, 1e-40, NaN, Infinity, -Infinity];

function damageHeader(file: Uint8Array, random: Random): void {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const little = random.integer(4) > 0;
  for (let edits = 1 + random.integer(4); edits > 0; edits--) {
    const kind = random.integer(7);
    const at = random.integer(Math.min(file.length, 620) - 8);
    const real = REALS[random.integer(REALS.length)];
    const whole = INTEGERS[random.integer(INTEGERS.length)];
    if (kind === 0) file[at] = random.integer(256);
    else if (kind === 1) file[at] = EXTREMES[random.integer(EXTREMES.length)];
    else if (kind === 2) view.setInt16(40 + 2 * random.integer(18), whole, little);
    else if (kind === 3) view.setFloat32(76 + 4 * random.integer(12), real, little);
    else if (kind === 4) view.setBigInt64(16 + 8 * random.integer(8), BigInt(whole) ** 3n, little);
    else if (kind === 5) view.setInt32(at, whole, little);
    else view.setFloat32(252 + 4 * random.integer(20), real, little);
  }
}

function damageLength(file: Uint8Array, random: Random): Uint8Array {
  const at = random.integer(file.length);
  const kind = random.integer(4);
  if (kind === 0) return file.slice(0, at);
  if (kind === 1) return new Uint8Array([...file.subarray(0, at), ...file.subarray(at + random.integer(64))]);
  const more = Uint8Array.from({ length: random.integer(300) }, () => (kind === 2 ? 0 : random.integer(256)));
  return new Uint8Array([...file.subarray(0, at), ...more, ...file.subarray(at)]);
}

const BOMB = gzipSync(new Uint8Array(2 ** 25));

function damageGzip(content: Uint8Array, random: Random): Uint8Array {
  const cut = random.integer(content.length);
  let file: Uint8Array = new Uint8Array(gzipSync(content, { level: random.integer(10) }));
  const kind = random.integer(7);
  if (kind === 0) file = new Uint8Array([...gzipSync(content.subarray(0, cut)), ...gzipSync(content.subarray(cut))]);
  if (kind === 1) file = new Uint8Array([...gzipSync(content.subarray(0, cut)), ...BOMB]);
  if (kind === 2) file = new Uint8Array([...file, ...BOMB]);
  if (kind === 3) new DataView(file.buffer).setUint32(file.length - 4 - 4 * random.integer(2), cut * 1009, true);
  if (kind === 4) file[random.integer(10)] = random.integer(256);
  if (kind === 5) return damageLength(file, random);
  if (kind > 2) {
    for (let edits = random.integer(4); edits > 0; edits--) file[random.integer(file.length)] ^= 1 << random.integer(8);
  }
  return file;
}

export interface Tally {
  read: number;
  refused: number;
  /** Failures: crashes, slow reads, memory. */
  readonly faults: string[];
  slowest: number;
  /** Peak memory as a fraction of the limit. */
  largest: number;
}

/** Reads `count` damaged files; deterministic by seed. */
export function fuzz(count: number, options: { seed?: number; files?: readonly Uint8Array[] } = {}): Tally {
  const root = new Prng(options.seed ?? 1);
  const seeds = options.files ?? ownSeeds(root.fork("seeds"));
  const tally: Tally = { read: 0, refused: 0, faults: [], slowest: 0, largest: 0 };
  for (let round = 0; round < count; round++) {
    const random = root.fork(round);
    let content = seeds[round % seeds.length].slice();
    const kind = random.integer(6);
    // A damaged header that promises more would be correct before a bomb, so use only one of the two.
    const packed = kind > 3 || (kind === 3 && random.integer(2) === 0);
    if (!packed) damageHeader(content, random);
    if (kind === 1) content = damageLength(content, random) as typeof content;
    let file: Uint8Array = content;
    if (kind === 2) file = new Uint8Array(gzipSync(content));
    if (kind >= 4) file = damageGzip(content, random);
    let data: Uint8Array | undefined;
    if (kind === 3) {
      const second = content.slice(352);
      data = packed ? damageGzip(second, random) : second;
      content[345] = 105; // "ni1"
      file = random.integer(2)
        ? content.slice(0, 348 + random.integer(40))
        : new Uint8Array(gzipSync(content.slice(0, 348)));
    }
    const honest = file.length + content.length + (data?.length ?? 0);
    measure(`input ${round} of seed ${options.seed ?? 1}`, { file, data, honest }, tally);
  }
  return tally;
}

function measure(name: string, input: { file: Uint8Array; data?: Uint8Array; honest: number }, tally: Tally): void {
  const allowed = (more: number) => 4 * (input.honest + more) + 2 ** 21;
  Object.assign(memory, { before: 0, peak: 0, unseen: 0, limit: Infinity });
  memory.before = held();
  memory.limit = allowed(0);
  const started = performance.now();
  let produced = 0;
  try {
    const volume = readNifti(input.file, name, input.data ? { data: input.data } : {});
    // Wider values from a scale are legitimate too.
    produced = volume.data.byteLength;
    tally.read++;
  } catch (error) {
    if (error instanceof NiftiError) tally.refused++;
    else tally.faults.push(`${name}: ${(error as Error).stack}`);
  }
  const time = performance.now() - started;
  tally.slowest = Math.max(tally.slowest, time);
  if (time > 2000) tally.faults.push(`${name}: took ${time.toFixed(0)} ms`);
  tally.largest = Math.max(tally.largest, memory.peak / allowed(produced));
  if (memory.peak > allowed(produced)) {
    tally.faults.push(`${name}: held ${memory.peak} bytes where ${input.honest} + ${produced} are there`);
  }
}

if (process.argv[1]?.endsWith("nifti_fuzz.ts")) {
  const [count = "20000", folder = "", seed = "1"] = process.argv.slice(2);
  let files: Uint8Array[] | undefined;
  if (folder) {
    const names = readdirSync(folder, { recursive: true }).map(String).sort();
    const fit = names.filter((name) => /\.nii(\.gz)?$/.test(name) && statSync(join(folder, name)).size < 200_000);
    files = fit.flatMap((name) => {
      const bytes = readFileSync(join(folder, name));
      try {
        readNifti(bytes);
        return [new Uint8Array(bytes[0] === 0x1f ? gunzipSync(bytes) : bytes)];
      } catch {
        return []; // only files that can be read are worth damaging
      }
    });
    files = files.filter((_, k) => k % Math.max(1, Math.floor(files!.length / 10)) === 0).slice(0, 10);
    console.log(`${files.length} seeds of ${files.map((f) => f.length).join(", ")} bytes`);
  }
  const started = performance.now();
  const tally = fuzz(Number(count), { seed: Number(seed), ...(files ? { files } : {}) });
  console.log(tally, `${((performance.now() - started) / 1000).toFixed(1)} s`);
  process.exitCode = tally.faults.length > 0 ? 1 : 0;
}
