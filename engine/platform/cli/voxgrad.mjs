#!/usr/bin/env node
// The `voxgrad` command. A clone runs the sources, for which plain JavaScript must register the loader first; the
// published package has dist/ instead.
import { existsSync } from "node:fs";

const inClone = existsSync(new URL("main.ts", import.meta.url));
if (inClone) await import("./register.mjs");
const own = (name) => import(inClone ? `../${name}.ts` : `../../../dist/engine/platform/${name}.js`);

const { guardStreams } = await own("terminal");
guardStreams();
const { main } = await own("cli/main");
process.exitCode = await main(process.argv.slice(2));
