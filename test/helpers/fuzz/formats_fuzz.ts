// Damages DICOM, NRRD, MetaImage, MGH and ZIP files in many ways and reads them: each must be read as a volume, or be
// rejected with FormatError, within 5 s. What checksums protect must have its voxels unchanged. The test run uses a few
// hundred inputs; more by hand: node --import ./engine/platform/cli/register.mjs test/helpers/fuzz/formats_fuzz.ts 5000 [SEED]
import { gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import {
  FormatError,
  makeVolume,
  readVolume,
  type Volume,
  writeDicomSeg,
  writeMetaImage,
  writeMgh,
  writeNrrd,
} from "../../../engine/imaging/mod.ts";
import { enhancedCt } from "../../imaging/dicom/compressed_files.ts";
import { BIG_ENDIAN, ctSlice, dicomFile, type Elements, EXPLICIT, IMPLICIT } from "../../imaging/dicom/dicom_files.ts";
import { goldenJson } from "../golden.ts";

type Bytes = Uint8Array<ArrayBuffer>;

interface Sample {
  readonly name: string;
  readonly bytes: Bytes;
  /** From where on a checksum protects the voxels; absent if none does. */
  readonly sealed?: number;
}

export interface Tally {
  read: number;
  refused: number;
  readonly faults: string[];
}

/** Numbers from 0 to 1 that a seed determines. */
function randoms(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

async function samples(): Promise<Sample[]> {
  const series = (changes: Elements, encoding = EXPLICIT): Bytes[] =>
    [1, 2, 3].map((number) => dicomFile(ctSlice({ number, position: [0, 0, 2.5 * number] }, changes), encoding));
  const scan = await readVolume(series({}).map((bytes, k) => new File([bytes], `IM${k}`)));
  const labels: Volume = { ...scan, data: Uint8Array.from(scan.data, (_, k) => k % 3) };
  const segments = [{ value: 1, name: "a" }, { value: 2, name: "b" }];
  const affine = [-0.5, 0.1, 0, 3, 0.1, 0.7, 0.2, -4, 0, -0.3, 2.4, 5, 0, 0, 0, 1];
  const volume = makeVolume(Int16Array.from({ length: 210 }, (_, k) => 7 * k - 500), { shape: [7, 6, 5], affine });
  const nrrd = writeNrrd(volume);
  const text = (bytes: Bytes): string => Buffer.from(bytes).toString("latin1");
  const raw = Buffer.concat([
    Buffer.from(text(nrrd.slice(0, text(nrrd).indexOf("\n\n") + 2)).replace("gzip", "raw"), "latin1"),
    Buffer.from(volume.data.buffer),
  ]);
  const compressed = goldenJson("dicom_compressed") as Record<string, { bytes: string }>;
  return [
    { name: "explicit.dcm", bytes: series({})[0] },
    { name: "implicit.dcm", bytes: series({}, IMPLICIT)[0] },
    { name: "big.dcm", bytes: series({}, BIG_ENDIAN)[0] },
    { name: "bare.dcm", bytes: series({}, { ...EXPLICIT, start: "nothing" })[0] },
    { name: "enhanced.dcm", bytes: dicomFile(enhancedCt()) },
    { name: "seg.dcm", bytes: await writeDicomSeg(labels, { labels: segments, date: new Date(0) }) },
    ...Object.entries(compressed).map(([name, { bytes }]) => ({
      name: `${name}.dcm`,
      bytes: new Uint8Array(Buffer.from(bytes, "base64")),
    })),
    { name: "gzip.nrrd", bytes: nrrd, sealed: text(nrrd).indexOf("\n\n") + 2 },
    { name: "raw.nrrd", bytes: new Uint8Array(raw) },
    { name: "scan.mha", bytes: writeMetaImage(volume), sealed: text(writeMetaImage(volume)).indexOf("LOCAL\n") + 6 },
    { name: "scan.mgz", bytes: writeMgh(volume), sealed: 10 },
    { name: "scan.mgh", bytes: new Uint8Array(writeMgh(volume, { gzip: false })) },
    {
      name: "gzipped.mgz",
      bytes: new Uint8Array(gzipSync(writeMgh(volume, { gzip: false }), { level: 0 })),
      sealed: 10,
    },
    {
      name: "series.zip",
      bytes: zipSync(Object.fromEntries(series({}).map((bytes, k) => [`IM${k}`, bytes]))) as Bytes,
      sealed: 0,
    },
  ];
}

/** A file with one to three kinds of damage, and the lowest byte that it changes. */
function damaged(bytes: Bytes, next: () => number): { bytes: Bytes; from: number } {
  let out = bytes.slice();
  let from = Infinity;
  const below = (n: number): number => Math.floor(next() * n);
  const place = (): number => {
    const at = next() < 0.5 ? below(out.length) : below(Math.min(out.length, 1200));
    from = Math.min(from, at);
    return at;
  };
  for (let times = 1 + below(3); times > 0 && out.length > 0; times--) {
    const at = place();
    const kind = below(8);
    if (kind === 0) out[at] ^= 1 << below(8);
    else if (kind === 1) out[at] = [0, 255, 127, 128, 32, 49][below(6)];
    else if (kind === 2) out = out.slice(0, at);
    else if (kind === 3) out = new Uint8Array([...out.slice(0, at), ...out.slice(at + 1 + below(8))]);
    else if (kind === 4) {
      const some = Array.from({ length: 1 + below(6) }, () => below(256));
      out = new Uint8Array([...out.slice(0, at), ...some, ...out.slice(at)]);
    } else if (kind === 5) out.fill(below(256), at, at + 1 + below(16));
    else if (kind === 6 && out.length >= 4) {
      const word = Math.min(at, out.length - 4);
      from = Math.min(from, word);
      new DataView(out.buffer).setUint32(word, below(2 ** 32));
    } else {
      // A digit of text, of which headers consist.
      const digits = [...out.keys()].filter((k) => k < 2000 && out[k] >= 48 && out[k] <= 57);
      if (digits.length > 0) {
        const digit = digits[below(digits.length)];
        from = Math.min(from, digit);
        out[digit] = 48 + below(10);
      }
    }
  }
  return { bytes: out, from };
}

/** What is wrong with a volume; undefined if it can be one. */
function problem({ data, shape, channels, affine, spacing }: Volume): string | undefined {
  if (data.length !== shape[0] * shape[1] * shape[2] * channels) return `${data.length} values for ${shape}`;
  if (!shape.every((n) => Number.isInteger(n) && n >= 1)) return `the shape ${shape}`;
  if (affine.length !== 16 || !affine.every(Number.isFinite)) return `the affine ${affine}`;
  return spacing.every((mm) => mm > 0) ? undefined : `the spacing ${spacing}`;
}

export async function fuzz(count: number, seed = 1): Promise<Tally> {
  const tally: Tally = { read: 0, refused: 0, faults: [] };
  const next = randoms(seed);
  const all = await samples();
  const whole = new Map<string, Volume>();
  for (const { name, bytes } of all) {
    if (!name.startsWith("jpeg_12")) whole.set(name, await readVolume(new File([bytes], name)));
  }
  for (let k = 0; k < count; k++) {
    const { name, bytes, sealed } = all[k % all.length];
    const { bytes: broken, from } = damaged(bytes, next);
    const start = performance.now();
    try {
      const volume = await readVolume(new File([broken], name));
      tally.read++;
      const wrong = problem(volume);
      if (wrong !== undefined) tally.faults.push(`${name} ${k}: ${wrong}`);
      const before = whole.get(name);
      if (sealed !== undefined && from >= sealed && before && String(before.data) !== String(volume.data)) {
        tally.faults.push(`${name} ${k}: other voxels, though a checksum tells`);
      }
    } catch (error) {
      tally.refused++;
      if (!(error instanceof FormatError)) tally.faults.push(`${name} ${k}: ${(error as Error).stack}`);
    }
    const took = performance.now() - start;
    if (took > 5000) tally.faults.push(`${name} ${k}: ${took.toFixed(0)} ms`);
  }
  return tally;
}

if (process.argv[1]?.endsWith("formats_fuzz.ts")) {
  const [count = "5000", seed = "1"] = process.argv.slice(2);
  const { read, refused, faults } = await fuzz(Number(count), Number(seed));
  console.log(`${read} read, ${refused} refused, ${faults.length} faults`);
  for (const fault of faults.slice(0, 20)) console.log(fault);
  if (faults.length > 0) process.exitCode = 1;
}
