/** Bundles the benchmark for a GPU, so that Node alone runs it. */
import { fileURLToPath } from "node:url";
import { build, type Metafile } from "esbuild";

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The programs: the first starts the others. */
export const programs = ["gpu", "gpu_child", "conv_kernels"] as const;

/**
 * Writes PROGRAM.js for each program into a folder; what they still import is Node's own, and the package webgpu, which is a
 * library of machine code.
 *
 * @returns esbuild's account of inputs and outputs
 */
export async function bundleBench(folder: string): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: programs.map((name) => here(`${name}.ts`)),
    outdir: folder,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["webgpu"],
    // Packages in CommonJS ask for Node's modules by require.
    banner: {
      js: `import { createRequire as makeRequire } from "node:module"; var require = makeRequire(import.meta.url);`,
    },
    metafile: true,
    logLevel: "warning",
    absWorkingDir: here(".."),
  });
  return metafile;
}
