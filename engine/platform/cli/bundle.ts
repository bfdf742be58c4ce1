import type { BuildFailure, BuildOptions, OutputFile, Plugin } from "esbuild";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { installCommand, missing } from "../optional_packages.mjs";
import { ownType, packageRoot } from "../package_root.ts";
import { PACKAGES as NATS } from "../remote/nats.ts";
import { SCRIPT_MARK } from "../script_mark.ts";
import { PlatformError } from "../types.ts";
import { entryPoints } from "./entry_points.mjs";
import { withoutNode, withoutZarr } from "./without_node.ts";

const ROOT = fileURLToPath(packageRoot);

/** What a bundle was made of, so that it is made again when one of them changes. */
interface Made {
  readonly inputs: readonly string[];
}

interface Bundle extends Made {
  readonly code: string;
  readonly css: string;
}

/** The files of a page by their paths in its folder: "main.js", "first/model.safetensors". */
export interface PageFiles extends Made {
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/**
 * Bundles TypeScript for the browser: one ES module with its source map, so that top-level await works. What it imports
 * as "voxgrad" is this package.
 *
 * @param entry the entry file
 * @param script the file to substitute for "voxgrad:script"
 * @param options nats: whether the page may connect to servers of NATS
 * @throws Error whose message lists each mistake with its file and line; PlatformError without the package esbuild, or
 * those of NATS
 */
export async function bundle(entry: string, script?: string, { nats = false } = {}): Promise<Bundle> {
  const standIn: Plugin = {
    name: "script",
    setup({ onLoad, onResolve }) {
      // `sideEffects` of package.json does not name them, since only programs of voxgrad have their flags.
      onResolve({ filter: /\/run_(profile|tune)\.[jt]s$/ }, ({ path, resolveDir }) => ({
        path: resolve(resolveDir, path),
        sideEffects: true,
      }));
      onResolve({ filter: /^voxgrad:script$/ }, () => (script ? { path: script } : undefined));
      const forNats = fileURLToPath(new URL(`../page/nats.${ownType}`, import.meta.url));
      onResolve({ filter: /^voxgrad:nats$/ }, () => nats ? { path: forNats } : { path: "none", namespace: "no-nats" });
      onLoad({ filter: /.*/, namespace: "no-nats" }, () => ({ contents: "" }));
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
  const { outputFiles, inputs } = await build(script ?? entry, {
    entryPoints: [entry],
    sourcemap: "inline",
    sourcesContent: true,
    plugins: [standIn, withoutNode],
  });
  const part = (end: string): string => outputFiles.find(({ path }) => path.endsWith(end))?.text ?? "";
  return { code: part(".js"), css: part(".css"), inputs };
}

/**
 * Bundles the page of `voxgrad serve` and `voxgrad site`: what is needed at the start, and chunks that it loads later.
 * All addresses in it are relative, so it works in any folder of any host.
 *
 * @throws as `bundle`; PlatformError without the package @niivue/niivue
 */
export async function bundleApp(): Promise<PageFiles> {
  const folder = fileURLToPath(new URL("../../../scripts/app/", import.meta.url));
  const { outputFiles, inputs } = await build("the page", {
    entryPoints: ["main", "worker"].map((name) => `${folder}${name}.${ownType}`),
    splitting: true,
    minify: true,
    legalComments: "none",
    plugins: [withoutNode, withoutZarr],
  });
  const files = new Map<string, Uint8Array>(outputFiles.map(({ path, contents }) => [basename(path), contents]));
  const more = ["index.html", ...(await readdir(`${folder}first`).catch(() => [])).map((name) => `first/${name}`)];
  for (const name of more) files.set(name, await readFile(folder + name));
  return { files, inputs: [...inputs, ...more.map((name) => folder + name)] };
}

/** Builds for the browser. `what` names it in the message of an error. */
async function build(
  what: string,
  options: BuildOptions,
): Promise<{ outputFiles: readonly OutputFile[]; inputs: readonly string[] }> {
  const { build } = await esbuild();
  const alias = Object.fromEntries(Object.entries(entryPoints()).map(([name, url]) => [name, fileURLToPath(url)]));
  try {
    const { outputFiles, metafile } = await build({
      bundle: true,
      write: false,
      outdir: "/out",
      format: "esm",
      platform: "browser",
      target: "es2022",
      logLevel: "silent",
      alias,
      absWorkingDir: ROOT,
      ...options,
      metafile: true,
    });
    // What a plugin made up is no file.
    const inputs = Object.keys(metafile!.inputs).filter((path) => !/^[\w-]{2,}:/.test(path));
    return { outputFiles: outputFiles!, inputs: inputs.map((path) => resolve(ROOT, path)) };
  } catch (error) {
    const { errors } = error as BuildFailure;
    if (!errors) throw error;
    if (errors.some(({ text }) => /Could not resolve "@niivue\/niivue"/.test(text))) {
      throw new PlatformError("no-package", missing("the page shows scans by", "@niivue/niivue"), undefined, error);
    }
    if (errors.some(({ text }) => /Could not resolve "@nats-io\//.test(text))) {
      const message = `the page reaches NATS through packages that are not installed: run ${installCommand(...NATS)}`;
      throw new PlatformError("no-package", message, undefined, error);
    }
    const lines = errors.map(({ location, text }) =>
      location ? `${location.file}:${location.line}:${location.column}: ${text}` : text
    );
    throw new Error(`Cannot bundle ${what} for the browser:\n${lines.join("\n")}`, { cause: error });
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
export class Bundler<T extends Made> {
  readonly #build: () => Promise<T>;
  #coming: Promise<T> | undefined;
  #made: { readonly bundle: T; readonly stamp: string } | undefined;
  /** Number of builds. */
  builds = 0;

  constructor(build: () => Promise<T>) {
    this.#build = build;
  }

  /** @throws what the build throws */
  get(): Promise<T> {
    return (this.#coming ??= this.#current().finally(() => (this.#coming = undefined)));
  }

  async #current(): Promise<T> {
    if (this.#made && (await stampOf(this.#made.bundle.inputs)).text === this.#made.stamp) return this.#made.bundle;
    this.#made = undefined;
    this.builds++;
    const started = Date.now();
    const made = await this.#build();
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
