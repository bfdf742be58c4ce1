import type { BuildFailure, Plugin } from "esbuild";
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

/**
 * Bundles TypeScript for the browser: one ES module with its source map, so that top-level await works.
 *
 * @param entry the file to begin with
 * @param script the file that stands for "voxgrad:script" in it
 * @throws Error whose message lists each mistake with its file and line
 */
export async function bundle(entry: string, script?: string): Promise<{ code: string; css: string }> {
  const standIn: Plugin = {
    name: "script",
    setup({ onResolve }) {
      onResolve({ filter: /^voxgrad:script$/ }, () => (script ? { path: script } : undefined));
    },
  };
  try {
    const result = await build({
      entryPoints: [entry],
      bundle: true,
      write: false,
      outdir: "/out",
      format: "esm",
      platform: "browser",
      target: "es2022",
      sourcemap: "inline",
      sourcesContent: true,
      logLevel: "silent",
      plugins: [standIn],
      absWorkingDir: fileURLToPath(new URL("../../../", import.meta.url)),
    });
    const part = (end: string): string => result.outputFiles.find(({ path }) => path.endsWith(end))?.text ?? "";
    return { code: part(".js"), css: part(".css") };
  } catch (error) {
    const { errors } = error as BuildFailure;
    if (!errors) throw error;
    const lines = errors.map(({ location, text }) =>
      location ? `${location.file}:${location.line}:${location.column}: ${text}` : text,
    );
    throw new Error(`Cannot bundle ${script ?? entry} for the browser:\n${lines.join("\n")}`, { cause: error });
  }
}
