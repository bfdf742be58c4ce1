// Loader hook: marks what matters in kernel templates, so that a source shows which of them it was made of.
import { readdirSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";

/** Where kernels are made. */
const folders = ["shaders", "engine/compile", "engine/ops"];
const root = fileURLToPath(new URL("../../../", import.meta.url));

/** Kernels, their memory, barriers and functions of subgroups; not in comments. */
const MARKED = new RegExp(
  [
    String.raw`\/\*[\s\S]*?\*\/|\/\/.*`,
    String.raw`@compute\b|\bvar<workgroup>|\b(?:workgroup|storage)Barrier\(\)|\bworkgroupUniformLoad\(`,
    String
      .raw`\bsubgroup(?:Add|All|Any|And|Ballot|Broadcast|Elect|Exclusive|Inclusive|Matrix[A-Z]|Max|Min|Mul|Or|Shuffle|Xor)\w*(?=[(<])`,
  ].join("|"),
  "g",
);

/** @type {(path: string, text: string) => string} */
function marked(path, text) {
  let count = 0;
  return text.replaceAll(MARKED, (found) => (/^\/[/*]/.test(found) ? found : `/*@${path} ${count++}*/${found}`));
}

/** @type {(text: string) => string[]} */
export const marksIn = (text) => [...text.matchAll(/\/\*@(\S+ \d+)\*\//g)].map(([, mark]) => mark);

/** The files in a folder where kernels are made, from the root. */
export const sourcesIn = (/** @type {string} */ folder) =>
  readdirSync(root + folder, { recursive: true }).map((name) => `${folder}/${name}`).filter((p) => p.endsWith(".ts"));

/** The marks of all templates, and what they mark. */
export function allMarks() {
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const path of folders.flatMap(sourcesIn)) {
    const text = marked(path, readFileSync(root + path, "utf8"));
    for (const [, mark, what] of text.matchAll(/\/\*@(\S+ \d+)\*\/(?=(.*))/g)) found.set(mark, what);
  }
  return found;
}

/** @type {import("node:module").LoadHook} */
export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context);
  const path = url.startsWith("file:") ? relative(root, fileURLToPath(url)) : "";
  if (!folders.some((folder) => path.startsWith(`${folder}/`)) || !loaded.source) return loaded;
  const text = typeof loaded.source === "string" ? loaded.source : new TextDecoder().decode(loaded.source);
  return { ...loaded, source: marked(path, text) };
}
