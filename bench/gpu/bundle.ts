/** Bundles the GPU benchmark, so that it only needs Node. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Metafile } from "esbuild";

const bench = fileURLToPath(new URL("..", import.meta.url));

/** The programs; the first starts the others. */
export const programs = ["gpu/gpu", "gpu/gpu_child", "probes/conv_kernels"] as const;

/**
 * Writes PROGRAM.js for each program into a folder; the only imports left are Node's modules and the native package
 * webgpu.
 *
 * @returns esbuild's account of inputs and outputs
 */
export async function bundleBench(folder: string): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: programs.map((name) => join(bench, `${name}.ts`)),
    outbase: bench,
    outdir: folder,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["webgpu"],
    // CommonJS packages load Node's modules by require.
    banner: {
      js: `import { createRequire as makeRequire } from "node:module"; var require = makeRequire(import.meta.url);`,
    },
    metafile: true,
    logLevel: "warning",
    absWorkingDir: join(bench, ".."),
  });
  return metafile;
}
