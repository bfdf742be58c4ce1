// Lets Node run the .ts sources: `node --import ./engine/platform/cli/register.mjs file.ts`.
// Node strips types by itself from 22.18 on, except below node_modules; there and on older versions esbuild does.
import { register } from "node:module";

if (!process.features.typescript || import.meta.url.includes("/node_modules/")) {
  process.setSourceMapsEnabled(true);
  register("./strip_types.mjs", import.meta.url);
}
