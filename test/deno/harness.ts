import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const minutes = 5;

/** How a run of Deno ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface DenoOptions {
  /** The folder to run in. Default: the repository. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs `deno run -A` with Deno out of npm, which finds deno.json above the script; nothing is fetched.
 *
 * @param words the script and its arguments
 * @throws Error when it does not end by itself
 */
export function runDeno(words: readonly string[], options: DenoOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", ...options.env };
    const args = ["run", "-A", "--cached-only", "--no-remote", ...words];
    const child = spawn(denoProgram(), args, { cwd: options.cwd ?? root, env, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data) => (stdout += data));
    child.stderr.on("data", (data) => (stderr += data));
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`deno ${args.join(" ")} did not end within ${minutes} minutes\n${stdout}${stderr}`));
    }, minutes * 60_000);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
}

/**
 * Runs the default export of a TypeScript module in Deno, and gives what it returns (as JSON keeps it).
 *
 * @throws Error with Deno's output when it fails
 */
export async function runModule<T>(file: URL): Promise<{ host: string; result: T }> {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-deno-"));
  try {
    const output = join(folder, "result.json");
    const { code, stdout, stderr } = await runDeno([join(root, "test/deno/entry.ts"), fileURLToPath(file), output]);
    if (code !== 0) throw new Error(`In Deno: exit code ${code}\n${stdout}${stderr}`);
    return JSON.parse(await readFile(output, "utf8")) as { host: string; result: T };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The program in the npm package for this system; npm's own link to it need not have been made. */
export function denoProgram(): string {
  const require = createRequire(import.meta.url);
  const system = `${process.platform}-${process.arch}${process.platform === "linux" ? "-glibc" : ""}`;
  try {
    const home = dirname(require.resolve(`@deno/${system}/package.json`));
    const program = join(home, process.platform === "win32" ? "deno.exe" : "deno");
    if (existsSync(program)) return program;
  } catch (cause) {
    throw new Error(`the package @deno/${system} is not installed: run \`npm ci\` (Deno has none for musl)`, { cause });
  }
  throw new Error(`the package @deno/${system} holds no program: run \`npm ci\``);
}
