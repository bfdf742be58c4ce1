// Loader hook (runs in Node's hook thread): compiles .ts to JavaScript with esbuild and caches the result, one file
// per source. A result ends with hashes of its source and of itself, so changed sources and damaged results are
// recompiled.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDir } from "../cache_dir.mjs";
import { entryPoints } from "./entry_points.mjs";

const { version } = createRequire(import.meta.url)("esbuild/package.json");
const folder = join(cacheDir(), "sources");
const entries = entryPoints();

// Reads are synchronous: in a thread that does nothing else they take a third of the time.
const read = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/**
 * Names of this package, and relative paths to .ts files: each is what it says, so Node need not look for it, unless to
 * say that it is missing.
 *
 * @type {import("node:module").ResolveHook}
 */
export function resolve(specifier, context, nextResolve) {
  if (specifier in entries) return { url: entries[specifier], shortCircuit: true };
  const own = /^\.\.?\/.*\.ts$/.test(specifier) && context.parentURL?.startsWith("file:");
  const url = own && new URL(specifier, context.parentURL);
  return url && existsSync(url)
    ? { url: url.href, format: "module", shortCircuit: true }
    : nextResolve(specifier, context);
}

/** @type {import("node:module").LoadHook} */
export async function load(url, context, nextLoad) {
  if (!url.startsWith("file:") || !/\.ts(\?|$)/.test(url)) return nextLoad(url, context);
  const path = fileURLToPath(url);
  const source = readFileSync(path, "utf8");
  return { format: "module", shortCircuit: true, source: await strip(path, source) };
}

async function strip(path, source) {
  const hash = createHash("sha256").update(`${version}\n${process.version}\n${source}`).digest("hex");
  const marked = (code) => `${code}\n//# voxgrad ${hash} ${createHash("sha256").update(code).digest("hex")}\n`;
  const name = createHash("sha256").update(path).digest("hex").slice(0, 32);
  const kept = join(folder, `${name}.mjs`);
  const old = read(kept);
  const end = old.lastIndexOf("\n//# voxgrad ");
  if (end >= 0 && old === marked(old.slice(0, end))) return old;

  const { transform } = await import("esbuild");
  const { code } = await transform(source, {
    loader: "ts",
    format: "esm",
    target: "node20",
    sourcefile: path,
    sourcemap: "inline",
    sourcesContent: false,
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  });
  try {
    await mkdir(folder, { recursive: true });
    const temporary = join(folder, `${name}.${process.pid}.tmp`);
    await writeFile(temporary, marked(code));
    await rename(temporary, kept);
  } catch {
    // The cache is optional: without a writable folder the source is compiled again next time.
  }
  return marked(code);
}
