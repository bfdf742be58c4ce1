// Writes dist/, what npm publishes: JavaScript with its source map for every file, declarations of what the entry
// points offer, and one module for pages. `npm run build`; `npm pack` runs it first.
import { spawnSync } from "node:child_process";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin, transform } from "esbuild";
import { version } from "../cli/version.ts";
import { packageRoot } from "../package_root.ts";
import { CODECS, codecsModule } from "./codecs.ts";
import { javaScriptOf, shortKernels } from "./javascript.ts";

const root = fileURLToPath(packageRoot);
const dist = join(root, "dist");
/** Only a clone needs these. */
const leftOut = /^(engine\/platform\/(build\/|cli\/(notices\.ts|voxgrad\.mjs)$)|scripts\/project\/)/;

/** What voxgrad/browser offers: segmenting with a model. All of voxgrad would be more than twice as large. */
const offered: Readonly<Record<string, string>> = {
  "./engine/mod.ts": "closeDevice, deviceInfo, openDevice, readNifti, tensor, Tensor, writeNifti",
  "./engine/imaging/mod.ts": "readVolume",
  "./models/mod.ts": "openModel",
};
const forPages = Object.entries(offered).map(([file, names]) => `export { ${names} } from "${file}";\n`).join("");

/** Imports of sources and of their host, as what lies in dist/ has them. */
const published = (code: string): string =>
  code.replace(/((?:\bfrom|\bimport)\s*\(?\s*)"(\.[^"]*)\.ts"/g, '$1"$2.js"').replaceAll('"#platform"', '"#host"');

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

async function filesOf(folders: readonly string[]): Promise<string[]> {
  const names = await Promise.all(folders.map(async (folder) => {
    const all = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
    return all.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  }));
  return names.flat().map((file) => file.slice(root.length).replaceAll("\\", "/")).filter((file) =>
    !leftOut.test(file)
  );
}

/** Each source by itself. */
async function writeJavaScript(): Promise<void> {
  const files = await filesOf(["engine", "shaders", "models", "scripts"]);
  const sources = files.filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts") && file !== CODECS);
  for (const [file, { code, map }] of await javaScriptOf(root, sources, "dist")) {
    await write(file, published(code));
    await write(`${file}.map`, map);
  }
  await write(join(dist, CODECS.replace(".ts", ".js")), await codecsModule(root));
  for (const file of files.filter((file) => [".mjs", ".css"].includes(extname(file)))) {
    const loader = file.endsWith(".css") ? "css" : "js";
    const { code } = await transform(await readFile(join(root, file), "utf8"), { loader, minify: true });
    await write(join(dist, file), code);
  }
  // What `voxgrad new` copies stays TypeScript; beside the page are the models that a first visitor finds there.
  const whole = files.filter((file) => [".html", ".js", ".safetensors"].includes(extname(file)));
  for (const file of ["scripts/project", ...whole]) {
    await cp(join(root, file), join(dist, file), { recursive: true });
  }
}

/** Types that declarations use, and that not every project has. */
const ambient = join(dist, "webgpu.d.ts");
const referencesFrom = (file: string): string =>
  `/// <reference lib="esnext.disposable" />\n/// <reference path="${relative(dirname(file), ambient)}" />\n`;

/** Declarations of the entry points and of what those name; the compiler writes those of all that is imported. */
async function writeDeclarations(entries: readonly string[]): Promise<void> {
  const project = fileURLToPath(new URL("tsconfig.json", import.meta.url));
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [compiler, "-p", project], { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error("the declarations do not compile");
  const needed = new Set(entries.map((entry) => join(dist, entry.replace(".ts", ".d.ts"))));
  const webgpu = new Set<string>();
  const codes = new Map<string, string>();
  for (const file of needed) {
    const code = published(await readFile(file, "utf8"));
    for (const [name] of code.matchAll(/\bGPU[A-Z]\w+/g)) webgpu.add(name);
    const foreign = code.match(/^(?:import|export) .*from "(?!\.|#host).*|import\("(?!\.|#host).*/m);
    if (foreign) throw new Error(`${file} names a package, whose types projects may lack: ${foreign[0]}`);
    for (const [, target] of code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]*)\.js"/g)) {
      needed.add(join(dirname(file), `${target}.d.ts`));
    }
    codes.set(file, code);
  }
  const offers = [...codes.entries()].flatMap(([file, code]) =>
    [...code.matchAll(/^export (?:type )?(?:\{([^}]*)\}|\*.*) from "(\.[^"]*)\.js"/gm)].map(([, names, target]) => ({
      file: join(dirname(file), `${target}.d.ts`),
      names: names?.split(",").map((name) => name.trim().split(" ")[0]),
    }))
  );
  for (const [file, code] of codes) {
    const offered = offers.filter((offer) => offer.file === file);
    // What nobody can import needs no comment; types are seen through what is offered.
    const short = code.replace(
      /\/\*\*(?:(?!\*\/)[^])*\*\/\n(?=export declare (?:const|function) (\w+))/g,
      (comment, name) => offered.some(({ names }) => !names || names.includes(name)) ? comment : "",
    );
    const entry = entries.includes(`./${relative(dist, file).replace(".d.ts", ".ts")}`);
    await write(file, entry ? referencesFrom(file) + short : short);
  }
  // Interfaces merge with those of whatever else declares WebGPU: TypeScript's library, @webgpu/types, Deno.
  await write(ambient, [...webgpu].sort().map((name) => `interface ${name} {}\n`).join(""));
  needed.add(ambient);
  const made = (await readdir(dist, { recursive: true })).filter((name) => name.endsWith(".d.ts"));
  await Promise.all(made.map((name) => join(dist, name)).filter((file) => !needed.has(file)).map((file) => rm(file)));
}

/** The decoders stay the file that they are, which a page loads for the first compressed series. */
const codecsLater: Plugin = {
  name: "codecs later",
  setup({ onResolve }) {
    onResolve({ filter: /\/codecs\.ts$/ }, () => ({ path: `./${CODECS.replace(".ts", ".js")}`, external: true }));
  },
};

/** One minified module, for `<script type="module">`. */
async function writeBrowserModule(): Promise<void> {
  await build({
    absWorkingDir: root,
    stdin: {
      contents: forPages.replace("models/mod.ts", "models/open/open_at_once.ts"),
      resolveDir: root,
      loader: "ts",
    },
    outfile: "dist/voxgrad.min.js",
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    banner: {
      js: `/*! voxgrad ${version()}, MIT license; licenses of the packages in it: engine/platform/NOTICES.md */`,
    },
    legalComments: "none",
    plugins: [shortKernels, codecsLater],
    // What only programs of voxgrad do.
    logOverride: { "ignored-bare-import": "silent" },
    logLevel: "warning",
  });
  const declarations = join(dist, "voxgrad.min.d.ts");
  await write(declarations, published(referencesFrom(declarations) + forPages));
}

const { exports } = JSON.parse(await readFile(join(root, "deno.json"), "utf8")) as { exports: Record<string, string> };
const entries = Object.values(exports);
await rm(dist, { recursive: true, force: true });
await writeJavaScript();
await writeDeclarations(entries);
await writeBrowserModule();
