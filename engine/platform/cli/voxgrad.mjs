#!/usr/bin/env node
// The `voxgrad` command: plain JavaScript, because it registers the loader for the .ts sources first.
import "./register.mjs";

const { guardStreams } = await import("../terminal.ts");
guardStreams();
const { main } = await import("./main.ts");
process.exitCode = await main(process.argv.slice(2));
