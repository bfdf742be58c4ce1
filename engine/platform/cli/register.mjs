// Lets Node run the .ts sources: `node --import ./engine/platform/cli/register.mjs file.ts`.
// Node 22.18 and later strip types themselves, except in node_modules; there and on older versions esbuild does.
import { register } from "node:module";

if (!process.features.typescript || import.meta.url.includes("/node_modules/")) {
  process.setSourceMapsEnabled(true);
  register("./strip_types.mjs", import.meta.url);
}
