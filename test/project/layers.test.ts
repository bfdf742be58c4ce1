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
  "engine/nn": ["engine/core", "engine/ops", "engine/autodiff", "engine/compile", "engine/platform/sources.ts"],
  "engine/imaging": [
    "engine/core",
    "engine/ops",
    "engine/compile/evaluate.ts",
    "#platform",
    "engine/platform/sources.ts",
    "engine/platform/types.ts",
    "engine/platform/files/mounts.ts",
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
    "engine/platform/sources.ts",
    "engine/platform/types.ts",
    "engine/platform/host.ts",
    "engine/platform/files",
    "shaders",
  ],
  // What serves every host is the same file for all: sources.ts.
  "engine/platform": ["#platform"],
  "engine/mod.ts": ["engine", "#platform"],
  shaders: [],
  // What of the entry points segmenting needs.
  "engine/segmenting.ts": ["engine"],
  models: [
    ...ENTRY_POINTS,
    "engine/segmenting.ts",
    "engine/platform/worker_ports.ts",
    "engine/imaging/formats/when_needed.ts",
    "engine/imaging/formats/write_volume.ts",
  ],
  scripts: [...ENTRY_POINTS, "models"],
  // The page of all ways to work: a program that names the browser, beside the scripts.
  "scripts/app": [...ENTRY_POINTS, "models", "scripts/adapt.ts", "scripts/train_unet.ts"],
};

/**
 * The floors of a hall, lowest first: rooms, or single files, which may import what lies below them. Other files that
 * lie directly in a hall are its ground floor; mod.ts is the roof.
 */
const floors: Record<string, readonly string[]> = {
  "engine/imaging": [
    "volume",
    "nifti",
    "dicom",
    "formats",
    "dataset",
    "plan",
    "prepare",
    "planner",
    "augment",
    "metrics",
    "superpixels",
    "phantoms",
  ],
  "engine/train": ["run", "plot", "predict", "report", "experiment", "loop", "ranks", "jobs", "federate"],
  "engine/platform": [
    "files",
    "adapters",
    "remote",
    "host.ts",
    "process_host.ts",
    "node.ts",
    "deno.ts",
    "browser.ts",
    "page",
    "cli",
    "build",
  ],
  models: [
    "unet",
    "segresnet",
    "mednext",
    "swin_unetr",
    "resnet",
    "conresnet",
    "partial",
    "colab",
    "alpnet",
    "alpnet/evaluate",
    "nnunet",
    "onnx/file",
    "onnx/operators",
    "onnx",
    "tfjs",
    "open",
    "worker",
  ],
  "scripts/app": ["tasks", "worker.ts", "engine.ts", "viewer", "app.ts", "views", "main.ts"],
};

/** Operators call each other: rooms of theirs do, though no files. */
const circular = ["engine/ops"];

/** Longer for a reason: the table of licenses and a library of functions in one WGSL module. */
const long = ["engine/platform/cli/notices.ts", "shaders/math.wgsl.ts"];

const within = (path: string, folders: readonly string[]): boolean =>
  folders.some((folder) => path === folder || path.startsWith(`${folder}/`));

/** Packages of npm, by the one folder that may import them. */
const packages: Record<string, readonly string[]> = {
  "engine/platform": [
    "zeromq",
    "@nats-io",
    "webgpu",
    "esbuild",
    "tar-fs",
    "uplot",
    "@sparticuz/chromium",
    "@jridgewell/sourcemap-codec",
  ],
  "engine/imaging": [
    "nifti-reader-js",
    "#gl-matrix",
    "fflate",
    "dicom-parser",
    "@cornerstonejs/codec-charls",
    "@cornerstonejs/codec-openjpeg",
    "daikon",
    "jpeg-lossless-decoder-js",
  ],
  "engine/nn": ["fflate"],
  "engine/train": ["@nats-io", "mri", "d3-scale", "fast-png", "pbf"],
  models: ["pbf"],
  shaders: ["wgsl-preprocessor"],
  // What `voxgrad new` copies imports the package as its users do.
  scripts: ["voxgrad"],
  "scripts/app": ["@niivue/niivue", "fflate", "uplot"],
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
  if (found.length === 0) throw new Error(`${path} lies in no known folder`);
  return found.reduce((a, b) => (a.length > b.length ? a : b));
}

const NAMES = String.raw`(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|[\w$,\s]*(?:\{[^}]*\})?)\s*from\s*`;
const IMPORT = String.raw`^(?:(?:import|export)\s+${NAMES}|import\s*)["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']`;

/** What a source imports, types included, as it is written there. */
const imports = (source: string): string[] => {
  // Examples in comments import the package as its users do.
  const code = source.replace(/^\s*\/\*[\s\S]*?\*\//gm, "");
  return [...code.matchAll(new RegExp(IMPORT, "gm"))].map((match) => match[1] ?? match[2]);
};

/** The files of this package that a file imports. */
const importedFiles = (path: string, source: string): string[] =>
  imports(source).filter((target) => target.startsWith(".")).map((target) => normalize(join(dirname(path), target)));

/** The imports of a file that its folder may not have. */
function forbiddenImports(path: string, source: string): string[] {
  const own = layer(path);
  const allowed = [own, ...arrows[own]];
  return imports(source).filter((target) => {
    if (own === "engine/platform" && /^(node|voxgrad):/.test(target)) return false;
    if (!target.startsWith(".") && target !== "#platform") {
      return !(packages[own] ?? []).some((name) => target === name || target.startsWith(`${name}/`));
    }
    const full = target.startsWith(".") ? normalize(join(dirname(path), target)) : target;
    return !allowed.some((each) => full === each || full.startsWith(`${each}/`));
  });
}

/** The imports of a file that lead to a floor above its own, in a hall of several floors. */
function importsUp(path: string, source: string): string[] {
  const hall = Object.keys(floors).find((key) => path.startsWith(`${key}/`));
  if (hall === undefined) return [];
  const floor = (file: string): number => {
    const name = file.slice(hall.length + 1);
    if (name === "mod.ts") return Infinity;
    const at = floors[hall].findIndex((each) => each === name || each === dirname(name));
    if (at < 0 && name.includes("/")) throw new Error(`${file} lies in no known room of ${hall}`);
    return at;
  };
  const inHall = importedFiles(path, source).filter((target) => target.startsWith(`${hall}/`));
  return inHall.filter((target) => floor(target) > floor(path));
}

/** The groups of nodes, sorted, that reach each other in a directed graph. */
function cycles(graph: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const reachable = new Map([...graph.keys()].map((start) => {
    const seen = new Set<string>();
    const open = [start];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      for (const next of graph.get(node) ?? []) {
        if (seen.has(next)) continue;
        seen.add(next);
        open.push(next);
      }
    }
    return [start, seen];
  }));
  const grouped = new Map<string, string[]>();
  for (const node of [...graph.keys()].sort()) {
    if (!reachable.get(node)!.has(node)) continue;
    const group = [...reachable.get(node)!].filter((other) => reachable.get(other)?.has(node)).sort();
    grouped.set(group.join(" "), group);
  }
  return [...grouped.values()];
}

/** Names of the host that a source uses as globals (a local variable of the same name is none). */
async function hostGlobals(source: string): Promise<string[]> {
  const mark = "host_global_named_";
  const define = Object.fromEntries(hostNames.map((name) => [name, mark + name]));
  const { code } = await transform(source, { loader: "ts", format: "esm", target: "esnext", define });
  return hostNames.filter((name) => new RegExp(`${mark}${name}\\b`).test(code));
}

async function sources(
  folders: readonly string[] = ["engine", "shaders", "models", "scripts"],
): Promise<{ path: string; source: string }[]> {
  const paths: string[] = [];
  for (const folder of folders) {
    const names = await readdir(join(root, folder), { recursive: true }).catch(() => []);
    paths.push(...names.map((name) => `${folder}/${name.replaceAll("\\", "/")}`));
  }
  const own = paths.filter((path) => !path.includes("/node_modules/"));
  const wanted = own.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts")).sort();
  return Promise.all(wanted.map(async (path) => ({ path, source: await readFile(join(root, path), "utf8") })));
}

test("imports follow the arrows", async () => {
  const all = await sources();
  assert.ok(all.length > 20);
  const wrong = all.flatMap(({ path, source }) => forbiddenImports(path, source).map((name) => `${path} -> ${name}`));
  assert.equal(wrong, []);
});

test("imports lead to lower floors of a hall", async () => {
  const wrong = (await sources()).flatMap(({ path, source }) =>
    importsUp(path, source).map((target) => `${path} -> ${target}`)
  );
  assert.equal(wrong, []);
});

test("no files import each other in a circle, types included", async () => {
  const graph = new Map<string, Set<string>>();
  for (const { path, source } of await sources()) graph.set(path, new Set(importedFiles(path, source)));
  assert.equal(cycles(graph), []);
});

test("no rooms import each other in a circle, types included", async () => {
  const graph = new Map<string, Set<string>>();
  const entries = new Set(Object.entries(floors).flatMap(([hall, list]) => list.map((each) => `${hall}/${each}`)));
  // Entry points offer what lies in the rooms beside them; they are rooms of their own.
  const roomOf = (path: string): string => path.endsWith("/mod.ts") || entries.has(path) ? path : dirname(path);
  for (const { path, source } of await sources()) {
    const room = roomOf(path);
    const targets = importedFiles(path, source).map(roomOf).filter((target) => target !== room);
    graph.set(room, new Set([...(graph.get(room) ?? []), ...targets]));
  }
  assert.equal(cycles(graph).filter((cycle) => !cycle.every((each) => within(each, circular))), []);
});

test("no folder holds more than 20 sources, scripts/ 28: a command each", async () => {
  const counts = new Map<string, number>();
  const all = [...await sources(), ...await sources(["test", "bench"])];
  for (const { path } of all) counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1);
  assert.equal([...counts].filter(([folder, count]) => count > (folder === "scripts" ? 28 : 20)), []);
});

test("lines have at most 120 columns, files at most 400 lines", async () => {
  const wrong: string[] = [];
  for (const { path, source } of await sources()) {
    if (long.some((start) => path.startsWith(start))) continue;
    const lines = source.trimEnd().split("\n");
    lines.forEach((line, k) => line.length > 120 && wrong.push(`${path}:${k + 1}`));
    if (lines.length > 400) wrong.push(`${path} has ${lines.length} lines`);
  }
  assert.equal(wrong, []);
});

test("only engine/platform and the page name the host", async () => {
  const wrong: string[] = [];
  for (const { path, source } of await sources()) {
    if (path.startsWith("engine/platform/") || path.startsWith("scripts/app/")) continue;
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
    '/** A class.\n * import { z } from "voxgrad";\n */',
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

test("importsUp() sees rooms above, importedFiles() types, cycles() groups", () => {
  const up = importsUp("engine/imaging/dataset/x.ts", 'import type { Plan } from "../plan/plan.ts";');
  assert.equal(up, ["engine/imaging/plan/plan.ts"]);
  assert.equal(importsUp("engine/imaging/plan/x.ts", 'import { a } from "../dataset/dataset.ts";'), []);
  assert.equal(importsUp("engine/imaging/plan/x.ts", 'import { a } from "../mod.ts";'), ["engine/imaging/mod.ts"]);
  assert.throws(() => importsUp("engine/imaging/attic/x.ts", 'import { a } from "../plan/plan.ts";'), "no known room");
  const graph = new Map(
    [["a", ["b"]], ["b", ["c", "d"]], ["c", ["b"]], ["d", ["d"]]].map(([from, to]) =>
      [from, new Set(to)] as [string, Set<string>]
    ),
  );
  assert.equal(cycles(graph), [["b", "c"], ["d"]]);
});

test("the host check sees globals and passes over locals and properties", async () => {
  assert.equal(await hostGlobals("console.log(process.pid)"), ["process", "console"]);
  assert.equal(await hostGlobals("function f(process: number) { return process + x.document; } // console"), []);
  assert.equal(await hostGlobals('const t: typeof fetch = "window";'), []);
});

test.run();
