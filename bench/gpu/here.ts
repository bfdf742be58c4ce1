/** Bundles the GPU benchmark and runs it on this machine. Run: npm run bench:gpu -- --minutes 10 */
import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleBench } from "./bundle.ts";

// Within the repository, so that the package webgpu is found.
const folder = fileURLToPath(new URL("../out/here", import.meta.url));
await rm(folder, { recursive: true, force: true });
await bundleBench(folder);
const child = spawn(process.execPath, [join(folder, "bench/gpu/gpu.js"), ...process.argv.slice(2)], {
  stdio: "inherit",
});
child.on("close", (code) => (process.exitCode = code ?? 1));
