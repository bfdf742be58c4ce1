/**
 * Packs the GPU benchmark with everything it needs into one archive, for a machine with nothing but a driver: no
 * network, Node, npm or Vulkan loader. Linux on x64. Run: npm run bench:pack
 */
import { execFileSync, spawn } from "node:child_process";
import { createWriteStream, existsSync, statSync } from "node:fs";
import { copyFile, cp, mkdir, realpath, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createGzip } from "node:zlib";
import { pack } from "tar-fs";
import { swiftShader } from "../../engine/platform/adapters/swiftshader.ts";
import { bundleBench } from "./bundle.ts";

const NAME = "voxgrad_gpu_bench";
const MOST = 60 * 2 ** 20;
/**
 * X libraries that NVIDIA's driver needs, with their dependencies: packed if present here, used if the target machine
 * lacks them.
 */
const ofX = ["X11.so.6", "Xext.so.6", "xcb.so.1", "Xau.so.6", "Xdmcp.so.6", "bsd.so.0", "md.so.0"];

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The output of a program; null if it is missing or fails. */
function printed(program: string, ...args: string[]): string | null {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return null;
  }
}

const loader = (await swiftShader())?.loader;
if (!loader) {
  console.error("bench:pack runs on Linux on x64, which the archive is for");
  process.exit(1);
}
const out = here("../out");
const stage = join(out, NAME);
await rm(stage, { recursive: true, force: true });
for (const folder of ["bin", "lib/x11", "node_modules/webgpu/dist/linux-x64"]) {
  await mkdir(join(stage, folder), { recursive: true });
}

await bundleBench(stage);
await copyFile(here("gpu_run.sh"), join(stage, "run.sh"));

await copyFile(process.execPath, join(stage, "bin/node"));
// Debug symbols are a fifth of its size.
printed("strip", join(stage, "bin/node"));

const webgpu = dirname(createRequire(import.meta.url).resolve("webgpu"));
for (const name of ["package.json", "index.js", "LICENSE.md", "dist/linux-x64/dawn.node"]) {
  await copyFile(join(webgpu, name), join(stage, "node_modules/webgpu", name));
}

// The npm package's loader runs on older systems than this machine's.
await copyFile(loader, join(stage, "lib/libvulkan.so.1"));
const known = printed("/sbin/ldconfig", "-p") ?? "";
for (const name of ofX.map((each) => `lib${each}`)) {
  const path = known.match(new RegExp(`^\\s*${name.replaceAll(".", "\\.")} \\(.*x86-64.*\\) => (.*)$`, "m"))?.[1];
  if (path && existsSync(path)) await cp(await realpath(path), join(stage, "lib/x11", name));
}

const xz = printed("xz", "--version") !== null;
const archive = join(out, `${NAME}.tar.${xz ? "xz" : "gz"}`);
const folder = pack(out, { entries: [NAME] });
if (xz) {
  const child = spawn("xz", ["-6", "-T0", "--stdout"], { stdio: ["pipe", "pipe", "inherit"] });
  await Promise.all([pipeline(folder, child.stdin), pipeline(child.stdout, createWriteStream(archive))]);
} else {
  await pipeline(folder, createGzip({ level: 9 }), createWriteStream(archive));
}
await rm(stage, { recursive: true });
const { size } = statSync(archive);
console.log(
  `${archive}: ${(size / 2 ** 20).toFixed(1)} MiB. There: python3 -m tarfile -e ${NAME}.tar.* && ${NAME}/run.sh`,
);
if (size > MOST) {
  console.error(`That is more than ${MOST / 2 ** 20} MiB`);
  process.exit(1);
}
