#!/usr/bin/env node
// The command `voxgrad`: plain JavaScript, so that it can set up what runs the .ts sources first.
import "./register.mjs";

const { guardStreams } = await import("../terminal.ts");
guardStreams();
const { main } = await import("./main.ts");
process.exitCode = await main(process.argv.slice(2));
