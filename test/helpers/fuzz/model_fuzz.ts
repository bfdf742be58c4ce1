// deno-lint-ignore-file no-explicit-any
// Damages model files of other programs and opens them: ONNX, checkpoints of PyTorch, layers models of TensorFlow.js.
// Each must be opened, with parameters that are written and read again as they are, or rejected by an error of the
// engine with a message below 2 kB without control characters, within 5 s. The test run uses a few hundred; more by
// hand: node --import ./engine/platform/cli/register.mjs test/helpers/fuzz/model_fuzz.ts 5000 [SEED]
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { unzipSync, zipSync } from "fflate";
import { type Tensor, VoxgradError, zeros } from "../../../engine/mod.ts";
import { Prng } from "../../../engine/imaging/mod.ts";
import { loadTorch } from "../../../engine/nn/torch_file.ts";
import { openLayersModel, openOnnx } from "../../../models/mod.ts";

export const KINDS = ["onnx", "layers", "pth"] as const;
export type Kind = (typeof KINDS)[number];

const golden = fileURLToPath(new URL("../../golden/", import.meta.url));
const filesOf = (folder: string, ending: string): Uint8Array[] =>
  readdirSync(join(golden, folder)).filter((name) => name.endsWith(ending) && name !== "golden.json").sort()
    .map((name) => new Uint8Array(readFileSync(join(golden, folder, name))));
const onnx = filesOf("onnx", ".onnx");
const pth = filesOf("torch", ".pth");
const layers = filesOf("tfjs", ".json").map((bytes) => new TextDecoder().decode(bytes));
const shards = Object.fromEntries(
  readdirSync(join(golden, "tfjs")).filter((name) => name.endsWith(".bin"))
    .map((name) => [name, new Uint8Array(readFileSync(join(golden, "tfjs", name)))]),
);

const BYTES = [0, 1, 2, 7, 8, 0x12, 0x1a, 0x22, 0x3a, 0x7f, 0x80, 0xfe, 0xff];

/** Bytes with some of them changed, taken out, doubled, or put in from elsewhere. */
function damaged(bytes: Uint8Array, random: Prng): Uint8Array {
  let out = bytes.slice();
  for (let times = 1 + random.integer(3); times > 0; times--) {
    const at = random.integer(Math.max(1, out.length));
    // Most of a file is weights; what says how to read them lies at its ends.
    const place = random.integer(2) ? at : random.integer(2) ? at % 400 : Math.max(0, out.length - 1 - (at % 400));
    const length = Math.min(out.length - place, 1 + random.integer(random.integer(4) ? 8 : 200));
    switch (random.integer(6)) {
      case 0:
        out[place] ^= 1 << random.integer(8);
        break;
      case 1:
        out[place] = BYTES[random.integer(BYTES.length)];
        break;
      case 2:
        out.fill(BYTES[random.integer(BYTES.length)], place, place + length);
        break;
      case 3:
        out = Uint8Array.from([...out.subarray(0, place), ...out.subarray(place + length)]);
        break;
      case 4:
        out = Uint8Array.from([...out.subarray(0, place + length), ...out.subarray(place)]);
        break;
      default:
        out = random.integer(3) ? out.slice(0, place) : out.copyWithin(place, random.integer(out.length), out.length);
    }
  }
  return out;
}

const ODD: readonly unknown[] = [
  ...[null, true, "", "x", [], {}, [[]], { length: 3 }, -1, 0, 0.5, 1e9, 2 ** 53, 1e308, "constructor", "__proto__"],
  ...["toString", "a\u0000b", "\u001b[2J", "x".repeat(5000), [null], [1, 2], [3, 3, 3], "same", "valid", "softmax"],
  ...["channels_first", "Conv3D", "InputLayer", "Dense", "Flatten", "Concatenate", "Add", "input", "output", "21"],
];

/** A value of JSON with some of its parts replaced, removed, doubled or swapped. */
function rewritten(text: string, random: Prng): string {
  const json = JSON.parse(text);
  const places: [any, string | number][] = [];
  const visit = (value: any): void => {
    if (typeof value !== "object" || value === null) return;
    for (const key of Array.isArray(value) ? value.keys() : Object.keys(value)) {
      places.push([value, key]);
      visit(value[key]);
    }
  };
  visit(json);
  const any = (): [any, string | number] => places[random.integer(places.length)];
  for (let times = 1 + random.integer(3); times > 0; times--) {
    const [owner, key] = any();
    switch (random.integer(6)) {
      case 0:
        if (Array.isArray(owner)) owner.splice(key as number, 1);
        else delete owner[key];
        break;
      case 1:
        if (Array.isArray(owner)) owner.splice(key as number, 0, structuredClone(owner[key as number]));
        else owner[`${key}2`] = structuredClone(owner[key]);
        break;
      case 2: {
        const [other, from] = any();
        owner[key] = structuredClone(other[from]);
        break;
      }
      case 3:
        if (typeof owner[key] === "number") owner[key] += [1, -1, 1e6, 0.5][random.integer(4)];
        else owner[key] = structuredClone(ODD[random.integer(ODD.length)]);
        break;
      default:
        owner[key] = structuredClone(ODD[random.integer(ODD.length)]);
    }
  }
  return JSON.stringify(json);
}

/** A checkpoint; of most the pickle within is damaged, under checksums that are right. */
function damagedCheckpoint(random: Prng): Uint8Array {
  const bytes = pth[random.integer(pth.length)];
  if (random.integer(3) === 0 || bytes[0] !== 0x50) return damaged(bytes, random);
  const entries = unzipSync(bytes);
  const names = Object.keys(entries);
  const pickle = names.find((name) => name.endsWith("data.pkl"))!;
  const name = random.integer(4) ? pickle : names[random.integer(names.length)];
  return zipSync({ ...entries, [name]: damaged(entries[name], random) }, { level: 0 });
}

const sameBits = (a: ArrayLike<number>, b: ArrayLike<number>): boolean =>
  a.length === b.length && Array.from(a).every((value, k) => Object.is(value, b[k]));
const fail = (what: string): never => {
  throw new Error(what);
};

/** Opens a graph, builds a call of it, and writes it again. */
async function tryGraph(open: () => ReturnType<typeof openOnnx>): Promise<void> {
  const model = await open();
  try {
    const inputs = Object.fromEntries(model.inputs.map(({ name, shape, dtype }) => {
      const sizes = (shape ?? [1, 1, 8, 8, 8]).map((n) => (typeof n === "number" ? Math.min(n, 16) : 8));
      return [name, zeros(sizes, { dtype: dtype ?? "f32" })];
    }));
    model.apply(model.params, inputs);
  } catch (error) {
    if (!(error instanceof VoxgradError)) throw error;
  }
  const again = await openOnnx(await model.save(model.params));
  for (const [name, value] of Object.entries(model.params)) {
    const other = again.params[name] ?? fail(`the parameter ${name} is lost`);
    if (String(other.shape) !== String(value.shape)) fail(`${name} is ${value}, written again ${other}`);
    if (!sameBits(await value.data(), await other.data())) fail(`${name} has other values when it is written again`);
  }
}

async function tryCheckpoint(bytes: Uint8Array): Promise<void> {
  for (const [name, value] of loadTorch(bytes) as ReadonlyMap<string, Tensor>) {
    const { length } = await value.data();
    if (length !== value.size) fail(`${name} is ${value} and has ${length} values`);
  }
}

// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f\u2028\u2029]/;

export interface Tally {
  readonly read: Record<Kind, number>;
  readonly refused: Record<Kind, number>;
  readonly faults: string[];
}

/** Opens `count` damaged files of each kind. */
export async function fuzz(count: number, seed = 1): Promise<Tally> {
  const none = (): Record<Kind, number> => ({ onnx: 0, layers: 0, pth: 0 });
  const tally: Tally = { read: none(), refused: none(), faults: [] };
  for (const kind of KINDS) {
    for (let k = 0; k < count; k++) {
      const random = new Prng(1_000_003 * seed + k);
      const begin = performance.now();
      try {
        if (kind === "onnx") {
          const bytes = damaged(onnx[random.integer(onnx.length)], random);
          await tryGraph(() => openOnnx(bytes));
        } else if (kind === "pth") await tryCheckpoint(damagedCheckpoint(random));
        else {
          const text = layers[random.integer(layers.length)];
          const bytes = random.integer(4)
            ? new TextEncoder().encode(rewritten(text, random))
            : damaged(new TextEncoder().encode(text), random);
          await tryGraph(() => openLayersModel(bytes, { external: shards }));
        }
        tally.read[kind]++;
      } catch (error) {
        const { message, stack } = error as Error;
        tally.refused[kind]++;
        const typed = error instanceof VoxgradError || (error as Error).name === "PlatformError";
        if (!typed) tally.faults.push(`${kind} ${k}: ${stack}`);
        else if (message.length > 2000 || CONTROL.test(message)) {
          tally.faults.push(`${kind} ${k}: ${JSON.stringify(message).slice(0, 500)}`);
        }
      }
      const seconds = (performance.now() - begin) / 1000;
      if (seconds > 5) tally.faults.push(`${kind} ${k}: ${seconds.toFixed(1)} s`);
    }
  }
  return tally;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [count = 1000, seed = 1] = process.argv.slice(2).map(Number);
  const { read, refused, faults } = await fuzz(count, seed);
  console.log("read", read, "refused", refused);
  for (const fault of faults.slice(0, 20)) console.log(fault);
  console.log(`${faults.length} faults`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
