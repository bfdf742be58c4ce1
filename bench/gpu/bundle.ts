/** Bundles the GPU benchmark, so that it only needs Node and the package webgpu. */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Metafile, type Plugin } from "esbuild";
import { checkFiles } from "./checks.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The programs, the first of which starts the others, and the tests that it runs. */
export const programs: readonly string[] = [
  "bench/gpu/gpu",
  "bench/gpu/gpu_child",
  "bench/gpu/adapter_facts",
  ...Object.keys(checkFiles).map((file) => `test/${file}.test`),
];

/** Files that they read or start. */
const copied = [
  "bench/gpu/gpu_torch.py",
  "bench/peers/torch_child.py",
  ...["ops", "geometry", "resize"].flatMap((name) => [`test/golden/${name}.json`, `test/golden/${name}.safetensors`]),
  "LICENSE",
];

/** The tests report to checks.ts. */
const lines: Plugin = {
  name: "uvu",
  setup: ({ onResolve }) => onResolve({ filter: /^uvu$/ }, () => ({ path: join(root, "bench/gpu/uvu_lines.ts") })),
};

/**
 * Writes PROGRAM.js for each program into a folder, with the files that they need; the only imports left are Node's
 * modules and the native package webgpu.
 *
 * @returns esbuild's account of inputs and outputs
 */
export async function bundleBench(folder: string): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: programs.map((name) => join(root, `${name}.ts`)),
    outbase: root,
    outdir: folder,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["webgpu"],
    plugins: [lines],
    // CommonJS packages load Node's modules by require.
    banner: {
      js: `import { createRequire as makeRequire } from "node:module"; var require = makeRequire(import.meta.url);`,
    },
    metafile: true,
    logLevel: "warning",
    absWorkingDir: root,
  });
  for (const name of ["test/golden", "bench/peers"]) await mkdir(join(folder, name), { recursive: true });
  for (const name of copied) await copyFile(join(root, name), join(folder, name));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "voxgrad", version, type: "module" }));
  return metafile;
}
