// npm test [-- WORD...]: the type check, then every *.test.ts below test/ (those whose path has one of the words), each
// in a process of its own. Ends with the line "N passed, N failed", counting test cases.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const register = new URL("../engine/platform/cli/register.mjs", import.meta.url).href;
const minutes = 20;
// The suite compiles some thousand small kernels and computes little: SwiftShader compiles them ten times faster than
// lavapipe. VOXGRAD_ADAPTER=hardware (or lavapipe) npm test runs it on another device.
const swiftShader = process.platform === "linux" && process.arch === "x64" ? "swiftshader" : "";
const adapter = process.env.VOXGRAD_ADAPTER ?? swiftShader;
const words = process.argv.slice(2);

const files = readdirSync(join(root, "test"), { recursive: true })
  .map((name) => join("test", name))
  .filter((name) => name.endsWith(".test.ts"))
  .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
  // Those in a browser and in Deno take longest, so they start first.
  .sort((a, b) => Number(/browser|deno/.test(b)) - Number(/browser|deno/.test(a)) || (a < b ? -1 : 1));

const started = performance.now();
let passed = 0;
let failed = 0;
const failures = [];

console.log(`Node ${process.version}, adapter ${adapter || "of choice"}`);
if (words.length === 0) {
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  for (const project of ["tsconfig.json", "engine/platform/tsconfig.json", "test/tsconfig.json"]) {
    const check = await run(process.execPath, [compiler, "-p", project]);
    report(`type check ${project}`, check, { passed: Number(check.code === 0), failed: Number(check.code !== 0) });
  }
}

const queue = [...files];
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, async () => {
  for (let file = queue.shift(); file; file = queue.shift()) {
    const result = await run(process.execPath, ["--import", register, file]);
    report(relative("test", file), result, counts(result));
  }
}));

for (const { name, output } of failures) console.log(`\n==== ${name}\n${output.trim()}`);
if (files.length === 0) console.log(`No test has ${words.join(" or ")} in its path`);
console.log(`\n${files.length} files in ${seconds(performance.now() - started)}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || files.length === 0 ? 1 : 0;

/** Runs a program to its end, or to the time limit. */
function run(program, args) {
  return new Promise((resolve) => {
    const begin = performance.now();
    let output = "";
    const env = { ...process.env, VOXGRAD_ADAPTER: adapter };
    const child = spawn(program, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => {
      output += `\nStopped after ${minutes} minutes`;
      child.kill("SIGKILL");
    }, minutes * 60_000);
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (output += data));
    child.on("error", (error) => (output += error.message));
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      // Dawn says this of every software driver.
      output = output.replace(/^Warning: maxDynamic.*limit\.\n/gm, "");
      resolve({ code, signal, output, milliseconds: performance.now() - begin });
    });
  });
}

/** uvu's summary; a process that ended badly without a failed case counts as one. */
function counts({ code, signal, output }) {
  const number = (label) => Number(output.match(new RegExp(`^  ${label}: +(\\d+)`, "m"))?.[1] ?? NaN);
  const total = number("Total");
  const good = number("Passed");
  if (Number.isNaN(total)) return { passed: 0, failed: 1 };
  const bad = total - good - (number("Skipped") || 0);
  return { passed: good, failed: bad === 0 && (code !== 0 || signal) ? 1 : bad };
}

function report(name, result, count) {
  passed += count.passed;
  failed += count.failed;
  const state = count.failed ? "FAIL" : "ok  ";
  console.log(
    `${state} ${name.padEnd(44)} ${String(count.passed).padStart(4)} passed` +
      `${count.failed ? `, ${count.failed} failed` : ""}  ${seconds(result.milliseconds)}`,
  );
  if (count.failed) {
    failures.push({ name, output: result.output || `exit code ${result.code}, signal ${result.signal}` });
  }
}

function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
