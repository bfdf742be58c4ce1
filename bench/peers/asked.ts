// deno-lint-ignore-file no-explicit-any
/** An engine in its own process, controlled by lines of JSON. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Written before a reply, so that other output is ignored. */
export const MARK = "@bench ";

/**
 * `mixed` is voxgrad in mixed precision, `tf32` and `amp` are PyTorch in these modes, and `last` is `amp` with channels
 * last in memory; the others compute in f32.
 */
export type EngineId = "ours" | "mixed" | "jax" | "tfjs" | "torch" | "tf32" | "amp" | "last";

/** A program and its arguments. */
export type Command = readonly [string, ...string[]];

const here = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));

/** The command that runs FOLDER/NAME.ts of bench in Node: the source, or the bundle in the packed benchmark. */
export function script(name: string, ...args: string[]): Command {
  if (import.meta.url.endsWith(".js")) return [process.execPath, here(`${name}.js`), ...args];
  return [process.execPath, "--import", here("../engine/platform/cli/register.mjs"), here(`${name}.ts`), ...args];
}

/** The command that runs a Python file of bench. */
export const pythonScript = (python: string, name: string, ...args: string[]): Command => [python, here(name), ...args];

export class EngineError extends Error {
  override name = "EngineError";
  /** Whether the process is gone. */
  readonly fatal: boolean;

  constructor(message: string, fatal: boolean) {
    super(message);
    this.fatal = fatal;
  }
}

/** A Python with PyTorch, or null. */
export async function findPython(): Promise<string | null> {
  for (const python of [process.env.VOXGRAD_PYTHON, "/usr/bin/python3", "python3"]) {
    if (!python) continue;
    const child = spawn(python, ["-c", "import torch"], { stdio: "ignore" });
    const code = await new Promise((resolve) => child.on("close", resolve).on("error", () => resolve(-1)));
    if (code === 0) return python;
  }
  return null;
}

export class Asked {
  readonly id: EngineId;
  readonly #child: ChildProcess;
  #answer: ((reply: any) => void) | null = null;
  #gone: string | null = null;
  #errors = "";

  constructor(id: EngineId, [program, ...args]: Command, environment: Record<string, string> = {}) {
    this.id = id;
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...environment } });
    this.#child.stderr!.on("data", (text) => (this.#errors = (this.#errors + text).slice(-2000)));
    this.#child.stdin!.on("error", () => undefined);
    this.#child.on("error", (error) => this.#end(error.message));
    this.#child.on("close", (code, signal) => this.#end(`its process ended (${signal ?? code}) ${this.#lastWords()}`));
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      if (line.startsWith(MARK)) this.#answer?.(JSON.parse(line.slice(MARK.length)));
    });
  }

  /** Whether it accepts requests. */
  get alive(): boolean {
    return this.#gone === null;
  }

  /**
   * @param patience timeout in milliseconds, after which the process is killed
   * @throws EngineError with the engine's message, or because it has exited
   */
  async ask(request: object, patience = 10 * 60_000): Promise<any> {
    if (this.#gone) throw new EngineError(this.#gone, true);
    const reply = await new Promise<any>((resolve) => {
      const timer = setTimeout(() => {
        this.#end(`no answer in ${(patience / 1000).toFixed(0)} s`);
        this.#child.kill("SIGKILL");
      }, patience);
      this.#answer = (value) => {
        clearTimeout(timer);
        this.#answer = null;
        resolve(value);
      };
      this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    });
    if (reply.error) throw new EngineError(reply.error, !this.alive);
    return reply;
  }

  async close(): Promise<void> {
    if (!this.alive) return;
    const closed = new Promise((resolve) => this.#child.on("close", resolve));
    this.#child.stdin!.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    await closed;
    clearTimeout(timer);
  }

  #end(reason: string): void {
    this.#gone ??= reason.trim();
    this.#answer?.({ error: this.#gone });
  }

  #lastWords(): string {
    const lines = this.#errors.trim().split("\n").reverse();
    return lines.find((line) => /error/i.test(line)) ?? "";
  }
}
