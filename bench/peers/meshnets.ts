// deno-lint-ignore-file no-explicit-any
/**
 * MeshNets of brainchop (TensorFlow.js layers models) on a part of its scan: labels, time and peak memory of voxgrad and
 * of TensorFlow.js on WebGPU and on its CPU backend, each in a process of its own.
 *
 * npx voxgrad run bench/peers/meshnets.ts FOLDER [--size 64] [--models model18cls,mindgrab] [--engines ours,webgpu,cpu]
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { closeDevice, compile, evaluate, type Tensor, tensor } from "../../engine/mod.ts";
import { readVolume } from "../../engine/imaging/mod.ts";
import { openLayersModel } from "../../models/mod.ts";
import { offerAdapter } from "../gpu/peer_gpu.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const { values, positionals: [folder] } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: "string", default: "64" },
    models: { type: "string", default: "" },
    engines: { type: "string", default: "ours,webgpu,cpu" },
    out: { type: "string", default: "" },
  },
});
const size = Number(values.size);
if (!folder || !existsSync(join(folder, "t1_crop.nii.gz"))) throw new Error("name the folder with t1_crop.nii.gz");

/**
 * The middle of the scan in the order [x, y, z] of brainchop, 0 to 1 by the whole scan's range, or by its quantiles of
 * 5 and 95 % for models whose comment wants that.
 */
async function part(file: string): Promise<Float32Array<ArrayBuffer>> {
  const { _comment = "" } = JSON.parse(readFileSync(file, "utf8"));
  const { data: voxels, shape: [X, Y, Z] } = await readVolume(join(folder, "t1_crop.nii.gz"));
  const data = Float32Array.from(voxels);
  const sorted = data.slice().sort();
  const [low, high] = (/quantile/i.test(_comment) ? [0.05, 0.95] : [0, 1])
    .map((q) => sorted[Math.round(q * (sorted.length - 1))]);
  const start = [X, Y, Z].map((n) => (n - size) >> 1);
  const out = new Float32Array(size ** 3);
  for (let x = 0, at = 0; x < size; x++) {
    for (let y = 0; y < size; y++) {
      for (let z = 0; z < size; z++, at++) {
        out[at] = (data[start[0] + x + X * (start[1] + y + Y * (start[2] + z))] - low) / (high - low);
      }
    }
  }
  return out;
}

/** Labels of voxgrad. */
async function ours(file: string, x: Float32Array<ArrayBuffer>): Promise<() => Promise<ArrayLike<number>>> {
  const model = await openLayersModel(file);
  const params = await evaluate(model.params);
  const image = tensor(x, { shape: [1, 1, size, size, size] });
  const run = compile((p: typeof params, input: Tensor) => Object.values(model.apply(p, input))[0].argmax({ axis: 1 }));
  return async () => {
    using labels = await run(params, image);
    return await labels.data();
  };
}

async function theirs(
  backend: string,
  file: string,
  x: Float32Array<ArrayBuffer>,
): Promise<() => Promise<ArrayLike<number>>> {
  if (backend === "webgpu") await offerAdapter(process.env.VOXGRAD_ADAPTER ?? "");
  const require = createRequire(join(here, "package.json"));
  const tf: any = require("@tensorflow/tfjs");
  if (backend === "webgpu") require("@tensorflow/tfjs-backend-webgpu");
  if (!(await tf.setBackend(backend))) throw new Error(`its backend ${backend} does not start`);
  const json = JSON.parse(readFileSync(file, "utf8"));
  // As brainchop does for a crop of another size.
  json.modelTopology.model_config.config.layers[0].config.batch_input_shape = [null, size, size, size, 1];
  const [{ paths, weights: weightSpecs }] = json.weightsManifest;
  const parts = Buffer.concat(paths.map((path: string) => readFileSync(join(file, "..", path))));
  const weightData = parts.buffer.slice(parts.byteOffset, parts.byteOffset + parts.length);
  const model = await tf.loadLayersModel({
    load: () => Promise.resolve({ modelTopology: json.modelTopology, weightSpecs, weightData }),
  });
  const image = tf.tensor(x, [1, size, size, size, 1]);
  return async () => {
    const labels = tf.tidy(() => model.predict(image).argMax(-1));
    const data = await labels.data();
    labels.dispose();
    return data;
  };
}

/** A child: two calls, and what they took. */
async function measure(engine: string, name: string): Promise<void> {
  const file = join(folder, name, "model.json");
  const x = await part(file);
  const run = await (engine === "ours" ? ours(file, x) : theirs(engine, file, x));
  const seconds: number[] = [];
  let labels: ArrayLike<number> = [];
  for (let k = 0; k < (engine === "cpu" ? 1 : 2); k++) {
    const start = performance.now();
    labels = await run();
    seconds.push((performance.now() - start) / 1000);
  }
  writeFileSync(`${values.out}.labels`, Uint8Array.from(labels));
  const [, peak] = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))!;
  writeFileSync(`${values.out}.json`, JSON.stringify({ seconds, peak: Number(peak) / 1024 }));
  if (engine === "ours") await closeDevice();
  process.exit(0);
}

function compareAll(): void {
  if (!existsSync(join(here, "node_modules"))) {
    execFileSync("npm", ["ci", "--ignore-scripts"], { cwd: here, stdio: "inherit" });
  }
  const all = readdirSync(folder).filter((name) => existsSync(join(folder, name, "model.json")));
  const scratch = mkdtempSync(join(tmpdir(), "voxgrad-meshnets-"));
  const register = fileURLToPath(new URL("../../engine/platform/cli/register.mjs", import.meta.url));
  const engines = values.engines.split(",");
  console.log(
    `| model, ${size} cubed | engine | first call s | second call s | peak MB | same labels as ${engines.at(-1)} |`,
  );
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const name of values.models === "" ? all : values.models.split(",")) {
    const rows = engines.map((engine) => {
      const out = join(scratch, `${name}-${engine}`);
      const args = ["--import", register, fileURLToPath(import.meta.url), folder, "--size", `${size}`];
      try {
        execFileSync(process.execPath, [...args, "--engines", engine, "--models", name, "--out", out], {
          stdio: ["ignore", "ignore", "pipe"],
        });
      } catch (error) {
        return { engine, error: String((error as any).stderr).trim().split("\n").at(-1) };
      }
      const measured = JSON.parse(readFileSync(`${out}.json`, "utf8"));
      return { engine, ...measured, labels: readFileSync(`${out}.labels`) };
    });
    const wanted: Buffer | undefined = rows.at(-1)!.labels;
    for (const { engine, error, seconds, peak, labels } of rows) {
      if (error) {
        console.log(`| ${name} | ${engine} | failed: ${error} |`);
        continue;
      }
      const same = wanted ? labels.reduce((n: number, v: number, k: number) => n + Number(v === wanted[k]), 0) : NaN;
      const [first, second] = seconds.map((s: number) => s.toFixed(2));
      const share = `${((100 * same) / labels.length).toFixed(4)} % (of ${new Set(labels).size})`;
      console.log(`| ${name} | ${engine} | ${first} | ${second ?? ""} | ${peak.toFixed(0)} | ${share} |`);
    }
  }
}

if (values.out === "") compareAll();
else await measure(values.engines, values.models);
