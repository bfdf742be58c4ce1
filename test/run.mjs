// npm test                the checks (format, lint, types, examples), then every test below test/
// npm test -- WORD...     the tests whose path has one of the words, such as models/colab
// npm test -- --op NAME   what concerns one operator, such as roll
// npm run test:quick      the core, in under two minutes
// npm run test:limits     golden numbers and a training within the least limits, and at each width of subgroups
// npm run test:hosts      whole test files in Deno, and whole trainings in browsers
// npm run test:jobs       queues of NATS and Slurm, where they are installed
// npm run test:package    the packed package, installed and used as its users do
// npm run ok              the checks and the core; stops at the first that fails
// Each file runs in a process of its own. The last line is "N passed, N failed", counting checks and test cases.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const register = new URL("../engine/platform/cli/register.mjs", import.meta.url).href;
const minutes = 20;
// The suite compiles some thousand small kernels and computes little: SwiftShader compiles them ten times faster than
// lavapipe. VOXGRAD_ADAPTER=hardware (or lavapipe) npm test runs it on another device.
const swiftShader = process.platform === "linux" && process.arch === "x64" ? "swiftshader" : "";
const adapter = process.env.VOXGRAD_ADAPTER ?? swiftShader;

/** The core: what `npm run test:quick` and `npm run ok` run. */
const quick = [
  "core/",
  "autodiff/",
  "nn/",
  "ops/arguments",
  "ops/operators_half",
  "ops/operators_shapes",
  "compile/compile_arguments",
  "compile/diagnostics",
  "compile/engine",
  "compile/mixed_precision",
  "platform/platform.test.ts",
  "project/",
];

/** The tests that the table of operators drives, which --op limits to one operator. */
const operatorTests = [
  "operators",
  "operators_batch",
  "operators_half",
  "operators_shapes",
  "arguments",
  "golden_ops",
  "golden_indexing",
];

/** What repeats other tests in another host, or trains for minutes: `npm run test:hosts`. */
const inHosts = [
  "deno/files",
  "browser/firefox",
  "browser/own_page",
  "browser/train_colab",
  "browser/train_unet",
  "browser/app/adapt",
  "browser/app/train",
  "scripts/first",
];
/** What `npm test` leaves out; .ci/run runs it by commands of its own. */
const apart = [...inHosts, "limits/", "package/", "test/jobs/"];

/** What `npm run test:limits` runs on each of its devices. */
const withinLimits = [
  "models/unet/unet",
  "ops/golden_ops",
  "models/resnet/resnet",
  "models/conresnet/published",
  "models/alpnet/alpnet",
  "limits/training",
  "ops/composed",
];
/** Devices, by what the environment asks for. */
const within = {
  "default limits": { VOXGRAD_LIMITS: "default" },
  "compatibility mode": { VOXGRAD_LIMITS: "compatibility" },
};
/** Kernels for GPUs on lavapipe, for SwiftShader takes ten times as long where invocations wait for each other. */
const onLavapipe = { VOXGRAD_ADAPTER: "lavapipe", VOXGRAD_KERNELS: "gpu" };
/** Subgroups of lavapipe by the width of its vectors. */
const widths = { 4: 128, 8: 256, 16: 512 };

/** The slowest files, which start first so that all workers end together. Measured on two cores, slowest first. */
const slowest = [
  "models/colab/train_colab",
  "deno/deno",
  "models/partial/train_partial",
  "train/run/kill",
  "scripts/train_unet",
  "models/conresnet/published",
  "models/conresnet/train_conresnet_resume",
  "browser/train_colab",
  "browser/own_page",
  "browser/firefox",
  "browser/app/one_shot",
  "browser/app/segment",
  "browser/app/manners",
  "browser/app/adapt",
  "browser/app/train",
  "scripts/first",
  "browser/site",
  "compile/conv_statistics",
  "gpu/limits",
  "models/swin_unetr/swin_unetr",
  "models/alpnet/train_alpnet",
  "ops/operators_batch",
  "scripts/predict_script",
  "scripts/examples",
  "bench/experiments",
  "models/unet/unet",
  "train/run/run_sources",
  "models/conresnet/train_conresnet",
  "browser/train_unet",
  "shaders/conv_kernels",
  "gpu/memory",
  "platform/platform_cli",
  "ops/operators",
  "ops/golden_ops",
  "models/colab/colab",
  "imaging/planner/plan",
  "gpu/small_limits",
  "models/open/open_model",
  "bench/bench_gpu",
];

/** Formatting, lint, types and examples; they need nothing but the packages of npm. */
const compiler = join(root, "node_modules/typescript/bin/tsc");
const deno = join(root, "node_modules/deno/bin.cjs");
const checks = [
  ["format", [deno, "fmt", "--check", "--quiet"]],
  ["lint", [deno, "lint", "--quiet"]],
  ...["tsconfig.json", "engine/platform/tsconfig.json", "scripts/app/tsconfig.json", "test/tsconfig.json"]
    .map((project) => [`types of ${project}`, [compiler, "-p", project]]),
  ["types of the examples", [join(root, "test/check_examples.mjs"), "engine", "models", "scripts"]],
];

const started = performance.now();
const failures = [];
let passed = 0;
let failed = 0;

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.log(error.message);
  failed ||= 1;
}
for (const { name, output } of failures) console.log(`\n==== ${name}\n${output.trim()}`);
console.log(`\n${seconds(performance.now() - started)} in all`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

async function main(words) {
  console.log(`Node ${process.version}, adapter ${adapter || "of choice"}`);
  if (words[0] === "--op") return testOperator(words[1], words.slice(2));
  const options = ["--ok", "--quick", "--hosts", "--limits"];
  const unknown = words.find((word) => word.startsWith("-") && !options.includes(word));
  if (unknown) throw new Error(`Unknown option ${unknown}; it takes --op NAME, --quick, --ok or parts of paths`);
  const ok = words.includes("--ok");
  if (ok || words.length === 0) {
    for (const [name, args] of checks) {
      await check(name, args);
      if (ok && failed > 0) return;
    }
  }
  const files = testFiles();
  if (words.includes("--limits")) return testLimits(files.filter((file) => withinLimits.some((w) => file.includes(w))));
  if (words.length === 0) return testAll(files.filter((file) => !apart.some((name) => file.includes(name))));
  const parts = ok || words.includes("--quick") ? quick : words.includes("--hosts") ? inHosts : words;
  const chosen = files.filter((file) => parts.some((part) => file.includes(part)));
  if (chosen.length === 0) throw new Error(`No test has ${words.join(" or ")} in its path`);
  return testAll(chosen, { stop: ok });
}

/** Runs what concerns one operator: the tests of the table, limited to it, and its own file. */
async function testOperator(name, rest) {
  await import(register);
  const operators = Object.entries(await import("../engine/ops/mod.ts")).flatMap(([key, value]) =>
    typeof value === "function" ? [key] : Object.keys(value).map((inner) => `${key}.${inner}`)
  );
  if (rest.length > 0 || !operators.includes(name)) {
    const problem = rest.length > 0 ? `--op takes one name, got ${[name, ...rest].join(" ")}` : `No operator ${name}`;
    throw new Error(`${problem}; the operators are ${operators.sort().join(", ")}`);
  }
  const own = ownTest(name);
  const files = testFiles().filter((file) =>
    file.startsWith(join("test", "ops")) && [...operatorTests, own].includes(basename(file, ".test.ts"))
  );
  await testAll(files.map((file) => ({ file, env: { VOXGRAD_TEST_OPERATOR: name } })));
}

/** Runs the files on devices of the least limits and, where there is lavapipe, of each width of subgroups. */
async function testLimits(files) {
  const devices = { ...within };
  for (const [lanes, bits] of Object.entries(widths)) {
    const env = { ...onLavapipe, LP_NATIVE_VECTOR_WIDTH: `${bits}` };
    const found = await run(["--import", register, "test/limits/subgroups.mjs"], env);
    const name = `subgroups of ${lanes}, kernels for GPUs`;
    if (found.output.trim() === lanes) devices[name] = env;
    else console.log(`Left out: ${name}, for it takes lavapipe: ${found.output.trim().split("\n").at(-1)}`);
  }
  const anyWidth = Object.values(devices).some((env) => env.VOXGRAD_KERNELS);
  if (anyWidth) devices["compatibility mode, kernels for GPUs"] = { ...onLavapipe, VOXGRAD_LIMITS: "compatibility" };
  await testAll(Object.entries(devices).flatMap(([of, env]) => files.map((file) => ({ file, env, of }))));
}

/** The test of an operator has the name of the file that defines it. */
function ownTest(name) {
  const definition = new RegExp(`^export (const|function) ${name.split(".")[0]}\\b`, "m");
  const folder = join(root, "engine/ops");
  return readdirSync(folder, { recursive: true })
    .filter((file) => file.endsWith(".ts") && definition.test(readFileSync(join(folder, file), "utf8")))
    .map((file) => basename(file, ".ts"))[0];
}

function testFiles() {
  const rank = (file) => {
    const place = slowest.indexOf(relative("test", file).replaceAll("\\", "/").replace(".test.ts", ""));
    return place < 0 ? slowest.length : place;
  };
  return readdirSync(join(root, "test"), { recursive: true })
    .map((name) => join("test", name))
    .filter((name) => name.endsWith(".test.ts"))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Runs files, or files each with an environment and a name for it, two at a time. */
async function testAll(files, { stop = false } = {}) {
  const queue = files.map((entry) => (typeof entry === "string" ? { file: entry } : entry));
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const result = await run(["--import", register, next.file], next.env);
      const name = relative("test", next.file);
      report(next.of ? `${name}, ${next.of}` : name, result, counts(result));
      if (stop && failed > 0) queue.length = 0;
    }
  }));
}

async function check(name, args) {
  const result = await run(args);
  report(name, result, { passed: Number(result.code === 0), failed: Number(result.code !== 0) });
}

/** Runs Node on a file to its end, or to the time limit. */
function run(args, more = {}) {
  return new Promise((resolve) => {
    const begin = performance.now();
    let output = "";
    const env = { ...process.env, VOXGRAD_ADAPTER: adapter, ...more };
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
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

/**
 * uvu's summary, the last in the output, for a failure may quote another's. A process that ended badly without a failed
 * case counts as one.
 */
function counts({ code, signal, output }) {
  const number = (label) => Number([...output.matchAll(new RegExp(`^  ${label}: +(\\d+)`, "gm"))].at(-1)?.[1] ?? NaN);
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
  // A file that skips its tests says why in a line of this form.
  const skipped = /^Skipped: .+$/m.exec(result.output)?.[0];
  console.log(
    `${state} ${name.padEnd(44)} ${String(count.passed).padStart(4)} passed` +
      `${count.failed ? `, ${count.failed} failed` : ""}  ${seconds(result.milliseconds)}${
        skipped ? `  ${skipped}` : ""
      }`,
  );
  if (count.failed) {
    failures.push({ name, output: result.output || `exit code ${result.code}, signal ${result.signal}` });
  }
}

function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
