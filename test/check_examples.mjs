// Type-checks the examples of sources and guides by Deno: node test/check_examples.mjs FOLDER...
// Errors outside of examples are left to tsc: packages of npm bring @types/node, which declares Symbol.dispose once more,
// and depending on the order in which Deno loads files it then takes the engine's own `using` for errors. And Deno does
// not see what engine/core/types declares of packages without types.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = process.argv.slice(2);
// Deno finds the sources in a folder, and guides by their names alone.
const guides = folders.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name))
).filter((path) => path.endsWith("README.md"));
const args = ["node_modules/deno/bin.cjs", "check", "--doc-only", "--quiet", ...folders, ...guides];
const env = { ...process.env, NO_COLOR: "1" };
const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: "utf8" });
const errors = `${stdout}${stderr}`.split(/^(?=TS\d+ \[ERROR\])/m);
const foreign = (error) => !/at file:\S*(#|\$)\d+-\d+\.ts/.test(error);
const own = errors.filter((error) => /^TS\d+ \[ERROR\]/.test(error) && !foreign(error));
if (own.length > 0) console.log(own.join(""));
else if (status !== 0 && !errors.some(foreign)) console.log(`${stdout}${stderr}`);
process.exitCode = own.length > 0 || (status !== 0 && !errors.some(foreign)) ? 1 : 0;
