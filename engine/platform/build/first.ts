// The models that a first visitor of the page finds there, trained on phantoms. `npm run first` trains them again, on
// SwiftShader, and fails unless the weights are those of scripts/app/first to the last bit; `npm run first -- --write`
// puts what it trained there. A name, as in `npm run first -- segmenter`, chooses one. Minutes.
import { spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../package_root.ts";

/** Their command lines. */
const recipes: Readonly<Record<string, string>> = {
  segmenter: "train_unet --seed 1 --phantoms 20 --steps 400 --features 4,8,16 --validation 0",
  encoder: "train_alpnet --seed 1 --phantoms 24 --steps 1500 --rate 1e-2",
};

const root = fileURLToPath(packageRoot);
const folder = await mkdtemp(join(tmpdir(), "voxgrad-first-"));

/** The weights of a safetensors file: what lies behind its header, which also names versions and digests. */
async function weightsOf(file: string): Promise<Buffer> {
  const bytes = await readFile(file);
  return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
}

const asked = Object.keys(recipes).filter((name) => process.argv.includes(name));
let failed = false;
for (const [name, recipe] of Object.entries(recipes)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  const run = join(folder, name);
  const words = [join(root, "engine/platform/cli/voxgrad.mjs"), ...recipe.split(" "), "--run", run];
  const env = { ...process.env, VOXGRAD_ADAPTER: "swiftshader" };
  const { status } = spawnSync(process.execPath, words, { cwd: folder, env, stdio: "inherit" });
  if (status !== 0) throw new Error(`${recipe} ended with ${status}`);
  const [made, kept] = [join(run, "model.safetensors"), join(root, `scripts/app/first/${name}.safetensors`)];
  if (process.argv.includes("--write")) await cp(made, kept);
  const same = (await weightsOf(made)).equals(await weightsOf(kept));
  console.log(`${name}: ${same ? "the same weights" : "other weights"} as in ${kept}`);
  failed ||= !same;
}
await rm(folder, { recursive: true });
if (failed) process.exitCode = 1;
