// Weighs what npm publishes, and fails above the limits. `npm run size`; a limit is raised with its reason in
// CHANGELOG.md.
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { packageRoot } from "../package_root.ts";

const root = fileURLToPath(packageRoot);
const reexports = (entries: Readonly<Record<string, string>>): string =>
  Object.entries(entries).map(([entry, names]) => `export ${names} from "voxgrad${entry}";\n`).join("");
const inference = reexports({ "/models": "{ openModel }" });
const everything = reexports({ "": "*", "/nn": "*", "/imaging": "*", "/train": "*", "/models": "*" });

const npm = (words: readonly string[], cwd: string): string =>
  execFileSync("npm", [...words, "--no-audit", "--no-fund", "--loglevel=error"], { cwd, encoding: "utf8" });

/** Bytes of the files in a folder. */
async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return (await Promise.all(files.map((file) => stat(file)))).reduce((sum, { size }) => sum + size, 0);
}

/** Bytes of a module with all that it imports, minified and compressed. */
async function bundleSize(contents: string, resolveDir: string): Promise<number> {
  const { outputFiles: [file] } = await build({
    stdin: { contents, resolveDir },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false,
    logLevel: "error",
  });
  return gzipSync(file.contents, { level: 9 }).length;
}

const folder = await mkdtemp(join(tmpdir(), "voxgrad-size-"));
try {
  const [{ filename, size }] = JSON.parse(npm(["pack", "--json", "--pack-destination", folder], root));
  await writeFile(join(folder, "package.json"), '{ "private": true }');
  npm(["install", join(folder, filename)], folder);
  const rows: [what: string, bytes: number, limit: number][] = [
    ["tarball", size, 850e3],
    ["browser install", await sizeOf(join(folder, "node_modules")), 8e6],
    ["inference, minified and gzipped", await bundleSize(inference, folder), 150e3],
    ["everything, minified and gzipped", await bundleSize(everything, folder), 300e3],
  ];
  for (const [what, bytes, limit] of rows) {
    const over = bytes > limit ? "  TOO LARGE" : "";
    console.log(`${what.padEnd(34)}${(bytes / 1e3).toFixed(1).padStart(8)} kB of ${limit / 1e3}${over}`);
  }
  if (rows.some(([, bytes, limit]) => bytes > limit)) process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}
