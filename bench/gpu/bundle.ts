/** Bundles the GPU benchmark, so that it only needs Node and the package webgpu. */
import { cp, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Metafile, type Plugin } from "esbuild";
import { bundleOf, type CheckFile, checkFiles } from "./checks.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The sources of programs, the first of which starts the others, and of the tests that it runs, by their bundles. */
export const programs: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["gpu", "gpu_child", "adapter_facts"].map((name) => [`bench/gpu/${name}`, `bench/gpu/${name}`]),
  ),
  ...Object.fromEntries((Object.keys(checkFiles) as CheckFile[]).map((file) => [bundleOf(file), `test/${file}.test`])),
};

/** Files and folders that they read or start. */
const copied = ["bench/gpu/gpu_torch.py", "bench/peers/torch_child.py", "test/golden", "LICENSE"];

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
    entryPoints: Object.entries(programs).map(([out, name]) => ({ in: join(root, `${name}.ts`), out })),
    outdir: folder,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["webgpu"],
    // As the sources run: with all that pages leave out.
    ignoreAnnotations: true,
    plugins: [lines],
    // CommonJS packages load Node's modules by require.
    banner: {
      js: `import { createRequire as makeRequire } from "node:module"; var require = makeRequire(import.meta.url);`,
    },
    metafile: true,
    logLevel: "warning",
    absWorkingDir: root,
  });
  for (const name of copied) await cp(join(root, name), join(folder, name), { recursive: true });
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "voxgrad", version, type: "module" }));
  return metafile;
}
