// Runs the module under test in Deno: `deno run entry.ts MODULE OUTPUT` writes what its default export gives, as JSON.
import { pathToFileURL } from "node:url";
import { closeDevice } from "../../engine/mod.ts";
import { platform } from "#platform";

const [file, output] = platform.readCommandLine() as readonly [string, string];
const module = (await import(pathToFileURL(file).href)) as { default: () => unknown };
const result = await module.default();
await closeDevice();
await platform.writeFile(output, JSON.stringify({ host: platform.name, result }));
