import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../../engine/platform/cli/voxgrad.mjs", import.meta.url));

/**
 * Runs a command of voxgrad in a folder; with `kill` the process is killed, `after` ms from when its output matches.
 */
export function runCommand(
  folder: string,
  words: readonly string[],
  options: { kill?: RegExp | undefined; after?: number } = {},
): Promise<{ code: number | null; output: string }> {
  const { kill, after = 0 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...words], { cwd: folder });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        output += data;
        if (!kill?.test(output)) return;
        if (after === 0) child.kill("SIGKILL");
        else setTimeout(() => child.kill("SIGKILL"), after);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}
