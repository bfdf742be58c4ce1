import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path/posix";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What models and scripts may import of the engine: what package.json exports. */
const ENTRY_POINTS = ["engine/mod.ts", "engine/nn/mod.ts", "engine/imaging/mod.ts", "engine/train/mod.ts"];

/** The only imports allowed, by folder; its own folder always is. ARCHITECTURE.md draws them. */
const arrows: Record<string, readonly string[]> = {
  // The contract of an operator says what it lowers to; that file holds types only.
  "engine/core": ["shaders/types.ts"],
  "engine/ops": ["engine/core", "shaders"],
  "engine/autodiff": ["engine/core", "engine/ops"],
  "engine/compile": ["engine/core", "engine/ops", "engine/gpu", "shaders"],
  "engine/gpu": ["engine/core", "#platform", "engine/platform/types.ts", "shaders/types.ts", "shaders/roofs.wgsl.ts"],
  "engine/nn": ["engine/core", "engine/ops", "engine/autodiff", "engine/compile", "#platform"],
  "engine/imaging": [
    "engine/core",
    "engine/ops",
    "engine/compile/evaluate.ts",
    "#platform",
    "engine/platform/types.ts",
  ],
  "engine/train": [
    "engine/core",
    "engine/ops",
    "engine/autodiff",
    "engine/compile",
    "engine/gpu",
    "engine/nn",
    "engine/imaging",
    "#platform",
    "engine/platform/types.ts",
    "shaders",
  ],
  "engine/platform": [],
  "engine/mod.ts": ["engine", "#platform"],
  shaders: [],
  models: ENTRY_POINTS,
  scripts: [...ENTRY_POINTS, "models"],
};

/** Packages of npm, by the one folder that may import them. */
const packages: Record<string, readonly string[]> = {
  "engine/platform": ["webgpu", "esbuild", "tar-fs", "uplot", "@sparticuz/chromium"],
  "engine/imaging": ["nifti-reader-js", "gl-matrix", "fflate"],
  "engine/train": ["mri", "d3-scale", "d3-shape", "fast-png"],
  shaders: ["wgsl-preprocessor"],
};

const hostNames = [
  "process",
  "Deno",
  "document",
  "navigator",
  "console",
  "window",
  "self",
  "Buffer",
  "fetch",
  "require",
  "globalThis",
];

/** The key of `arrows` that a file falls under. */
function layer(path: string): string {
  const found = Object.keys(arrows).filter((key) => path === key || path.startsWith(`${key}/`));
  if (found.length !== 1) throw new Error(`${path} lies in no known folder`);
  return found[0];
}

/** The imports of a file that its folder may not have. */
function forbiddenImports(path: string, source: string): string[] {
  const own = layer(path);
  const allowed = [own, ...arrows[own]];
  const names = String.raw`(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|[\w$,\s]*(?:\{[^}]*\})?)\s*from\s*`;
  const form = String.raw`^(?:(?:import|export)\s+${names}|import\s*)["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']`;
  const statements = source.matchAll(new RegExp(form, "gm"));
  return [...statements].map((match) => match[1] ?? match[2]).filter((target) => {
    if (own === "engine/platform" && /^(node|voxgrad):/.test(target)) return false;
    if (!target.startsWith(".") && target !== "#platform") {
      return !(packages[own] ?? []).some((name) => target === name || target.startsWith(`${name}/`));
    }
    const full = target.startsWith(".") ? normalize(join(dirname(path), target)) : target;
    return !allowed.some((each) => full === each || full.startsWith(`${each}/`));
  });
}

/** Names of the host that a source uses as globals (a local variable of the same name is none). */
async function hostGlobals(source: string): Promise<string[]> {
  const mark = "host_global_named_";
  const define = Object.fromEntries(hostNames.map((name) => [name, mark + name]));
  const { code } = await transform(source, { loader: "ts", format: "esm", target: "esnext", define });
  return hostNames.filter((name) => new RegExp(`${mark}${name}\\b`).test(code));
}

async function sources(): Promise<{ path: string; source: string }[]> {
  const paths: string[] = [];
  for (const folder of ["engine", "shaders", "models", "scripts"]) {
    const names = await readdir(join(root, folder), { recursive: true }).catch(() => []);
    paths.push(...names.map((name) => `${folder}/${name.replaceAll("\\", "/")}`));
  }
  const wanted = paths.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts")).sort();
  return Promise.all(wanted.map(async (path) => ({ path, source: await readFile(join(root, path), "utf8") })));
}

test("imports follow the arrows", async () => {
  const all = await sources();
  assert.ok(all.length > 20);
  const wrong = all.flatMap(({ path, source }) => forbiddenImports(path, source).map((name) => `${path} -> ${name}`));
  assert.equal(wrong, []);
});

test("only engine/platform names the host", async () => {
  const wrong: string[] = [];
  for (const { path, source } of await sources()) {
    if (path.startsWith("engine/platform/")) continue;
    for (const name of await hostGlobals(source)) wrong.push(`${path}: ${name}`);
  }
  assert.equal(wrong, []);
});

test("file names are snake_case", async () => {
  const wrong = (await sources()).map(({ path }) => path).filter((path) => !/^[a-z0-9_/]+(\.wgsl)?\.ts$/.test(path));
  assert.equal(wrong, []);
});

test("the import check sees each form of import", () => {
  const source = [
    'import { a } from "../gpu/device.ts";',
    'import type { B } from "../../shaders/types.ts";',
    'import {\n  c,\n  d,\n} from "../core/shape.ts";',
    'export * from "../nn/mod.ts";',
    'import "node:fs";',
    'const late = await import("../compile/mod.ts");',
    'import { vec3 } from "gl-matrix";',
    'import { same } from "./same.ts";',
    'import { platform } from "#platform";',
  ].join("\n");
  assert.equal(forbiddenImports("engine/ops/x.ts", source), [
    "../gpu/device.ts",
    "../nn/mod.ts",
    "node:fs",
    "../compile/mod.ts",
    "gl-matrix",
    "#platform",
  ]);
  assert.equal(forbiddenImports("engine/gpu/x.ts", 'import { k } from "../../shaders/conv.ts";'), [
    "../../shaders/conv.ts",
  ]);
  assert.equal(forbiddenImports("models/unet/unet.ts", 'import { k } from "../../engine/core/tree.ts";'), [
    "../../engine/core/tree.ts",
  ]);
  assert.throws(() => forbiddenImports("engine/other/x.ts", ""), "no known folder");
});

test("the host check sees globals and passes over locals and properties", async () => {
  assert.equal(await hostGlobals("console.log(process.pid)"), ["process", "console"]);
  assert.equal(await hostGlobals("function f(process: number) { return process + x.document; } // console"), []);
  assert.equal(await hostGlobals('const t: typeof fetch = "window";'), []);
});

test.run();
