// Lets Node run .ts files that import "voxgrad": `node --import ./engine/platform/cli/register.mjs file.ts`.
// Node 22.18 and later strip types themselves; on older versions esbuild does.
import * as module from "node:module";
import { missing } from "../optional_packages.mjs";
import { entryPoints } from "./entry_points.mjs";

if (process.features.typescript) {
  const entries = entryPoints();
  module.registerHooks({
    resolve: (specifier, context, next) =>
      specifier in entries ? { url: entries[specifier], shortCircuit: true } : next(specifier, context),
  });
} else {
  try {
    import.meta.resolve("esbuild");
  } catch (cause) {
    const use = "Node before 22.18 runs TypeScript through";
    throw Object.assign(new Error(missing(use, "esbuild"), { cause }), { name: "PlatformError" });
  }
  process.setSourceMapsEnabled(true);
  module.register("./strip_types.mjs", import.meta.url);
}
