import type { BuildFailure, Plugin } from "esbuild";
import { readFile, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { missing } from "../optional_packages.mjs";
import { packageRoot } from "../package_root.ts";
import { SCRIPT_MARK } from "../script_mark.ts";
import { PlatformError } from "../types.ts";
import { entryPoints } from "./entry_points.mjs";
import { withoutNode } from "./without_node.ts";

const ROOT = fileURLToPath(packageRoot);

interface Bundle {
  readonly code: string;
  readonly css: string;
  /** Its input files. */
  readonly inputs: readonly string[];
}

/**
 * Bundles TypeScript for the browser: one ES module with its source map, so that top-level await works. What it imports
 * as "voxgrad" is this package.
 *
 * @param entry the entry file
 * @param script the file to substitute for "voxgrad:script"
 * @throws Error whose message lists each mistake with its file and line; PlatformError without the package esbuild
 */
export async function bundle(entry: string, script?: string): Promise<Bundle> {
  const standIn: Plugin = {
    name: "script",
    setup({ onLoad, onResolve }) {
      // `sideEffects` of package.json does not name them, since only programs of voxgrad have their flags.
      onResolve({ filter: /\/run_(profile|tune)\.[jt]s$/ }, ({ path, resolveDir }) => ({
        path: resolve(resolveDir, path),
        sideEffects: true,
      }));
      onResolve({ filter: /^voxgrad:script$/ }, () => (script ? { path: script } : undefined));
      if (script === undefined) return;
      const name = basename(script).replace(/[^\w]/g, "\\$&");
      onLoad({ filter: new RegExp(`${name}$`) }, async ({ path }) => {
        if (path !== script) return undefined;
        const source = await readFile(path, "utf8");
        const contents = source.replaceAll("import.meta.url", `(import.meta.url + "${SCRIPT_MARK}")`);
        return { contents, loader: /\.m?ts$/.test(path) ? "ts" : "js" };
      });
    },
  };
  const { build } = await esbuild();
  const alias = Object.fromEntries(Object.entries(entryPoints()).map(([name, url]) => [name, fileURLToPath(url)]));
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
      plugins: [standIn, withoutNode],
      alias,
      absWorkingDir: ROOT,
      metafile: true,
    });
    const part = (end: string): string => result.outputFiles.find(({ path }) => path.endsWith(end))?.text ?? "";
    const inputs = Object.keys(result.metafile.inputs).map((path) => resolve(ROOT, path));
    return { code: part(".js"), css: part(".css"), inputs };
  } catch (error) {
    const { errors } = error as BuildFailure;
    if (!errors) throw error;
    const lines = errors.map(({ location, text }) =>
      location ? `${location.file}:${location.line}:${location.column}: ${text}` : text
    );
    throw new Error(`Cannot bundle ${script ?? entry} for the browser:\n${lines.join("\n")}`, { cause: error });
  }
}

async function esbuild(): Promise<typeof import("esbuild")> {
  try {
    return await import("esbuild");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new PlatformError("no-package", missing("voxgrad bundles pages by", "esbuild"), undefined, cause);
  }
}

/** Caches a bundle: rebuilt only if one of its files has changed, and once for concurrent requests. */
export class Bundler {
  readonly #entry: string;
  readonly #script: string | undefined;
  #coming: Promise<Bundle> | undefined;
  #made: { readonly bundle: Bundle; readonly stamp: string } | undefined;
  /** Number of builds. */
  builds = 0;

  constructor(entry: string, script?: string) {
    this.#entry = entry;
    this.#script = script;
  }

  /** @throws as `bundle` */
  code(): Promise<Bundle> {
    return (this.#coming ??= this.#current().finally(() => (this.#coming = undefined)));
  }

  async #current(): Promise<Bundle> {
    if (this.#made && (await stampOf(this.#made.bundle.inputs)).text === this.#made.stamp) return this.#made.bundle;
    this.#made = undefined;
    this.builds++;
    const started = Date.now();
    const made = await bundle(this.#entry, this.#script);
    const { text, latest } = await stampOf(made.inputs);
    // A file changed during the build may not be included.
    if (latest < started) this.#made = { bundle: made, stamp: text };
    return made;
  }
}

/** A stamp that changes with any of the files, and the latest modification time. */
async function stampOf(files: readonly string[]): Promise<{ text: string; latest: number }> {
  const stats = await Promise.all(files.map((file) => stat(file).catch(() => ({ mtimeMs: Infinity, size: 0 }))));
  return {
    text: stats.map(({ mtimeMs, size }) => `${mtimeMs} ${size}`).join(),
    latest: Math.max(...stats.map(({ mtimeMs }) => mtimeMs)),
  };
}
