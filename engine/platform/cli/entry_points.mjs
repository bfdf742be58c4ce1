import { existsSync, readFileSync } from "node:fs";

/** In a clone the sources run; the published package has dist/ instead. */
const inClone = existsSync(new URL("main.ts", import.meta.url));
const root = new URL(inClone ? "../../../" : "../../../../", import.meta.url);

/**
 * What users import of this package.
 *
 * @returns {Record<string, string>} URLs by names such as "voxgrad/nn"
 */
export function entryPoints() {
  const { exports } = JSON.parse(readFileSync(new URL(inClone ? "deno.json" : "package.json", root), "utf8"));
  return Object.fromEntries(
    Object.entries(exports).map(([entry, file]) => [
      entry.replace(".", "voxgrad"),
      new URL(typeof file === "string" ? file : file.default, root).href,
    ]),
  );
}
