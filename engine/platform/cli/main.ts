import { existsSync, readdirSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ownType } from "../package_root.ts";
import { version } from "./version.ts";

const help = (): string =>
  `voxgrad: 3D medical image segmentation on any GPU

  voxgrad run SCRIPT.ts [--key value ...]             runs a script; each --key overrides an entry of its config
  voxgrad serve [--port N] [--private]                opens a page to look at scans, segment, correct, adapt and train;
                                                      everything stays in the browser
  voxgrad site FOLDER                                 writes that page as static files, for any web host
  voxgrad serve SCRIPT.ts [--port N] [--private] [--key value ...]
                                                      runs a script in a page, on the visitor's GPU; --private: at an
                                                      address that other users of this machine cannot guess
  voxgrad NAME [--key value ...]                      runs a script that voxgrad brings: ${ownScripts().join(", ")};
                                                      run and serve take these names too
  voxgrad new FOLDER                                  makes a project: scripts that train and segment, and a page
  voxgrad doctor                                      says which GPU or driver is used, why, and what would be better
  voxgrad --help | --version

--profile [TRACE.json] beside a script's own keys prints, at its end, which kernels took the time and how close to the
adapter's limits they came, and writes a trace for chrome://tracing and ui.perfetto.dev.
--tune measures which variants of the kernels are fastest here, and keeps that for later runs with --tune.
--print-config prints the options of a command line as JSON, and runs nothing.

VOXGRAD_ADAPTER=hardware, lavapipe, swiftshader or part of an adapter's name chooses the device;
#1 is the second that doctor lists.
VOXGRAD_CACHE is the folder for what can be made again (unpacked drivers, stripped sources, tuned kernels).`;

/**
 * Runs one command line.
 *
 * @param words the words after `voxgrad`
 * @returns the exit code: 0 success, 1 failure, 2 usage error
 */
export async function main(words: readonly string[]): Promise<number> {
  const [command, ...rest] = words;
  switch (command) {
    case undefined:
    case "help":
    case "-h":
    case "--help":
      console.log(help());
      return 0;
    case "-v":
    case "--version":
      console.log(version());
      return 0;
    case "new": {
      const [folder] = rest;
      if (rest.length !== 1 || folder.startsWith("-")) return misunderstood("Name one folder: voxgrad new my_project");
      return (await import("./new_project.ts")).newProject(folder);
    }
    case "site": {
      const [folder] = rest;
      if (rest.length !== 1 || folder.startsWith("-")) return misunderstood("Name one folder: voxgrad site public");
      return (await import("./site.ts")).site(folder);
    }
    case "doctor":
      return (await import("./doctor.ts")).doctor();
    case "run":
    case "serve": {
      const [named, ...args] = rest;
      if (command === "serve" && (named === undefined || named.startsWith("--"))) {
        return (await import("./serve.ts")).serve(undefined, rest);
      }
      const script = named && ownScripts().includes(named) ? ownScript(named) : named;
      const problem = scriptProblem(command, script);
      if (problem) return misunderstood(problem);
      if (command === "run") return (await import("./run.ts")).run(resolve(script), args);
      return (await import("./serve.ts")).serve(resolve(script), args);
    }
    default:
      if (ownScripts().includes(command)) return (await import("./run.ts")).run(ownScript(command), rest);
      return misunderstood(
        `Unknown command "${command}"; there are run, serve, site, new, doctor, ${ownScripts().join(", ")}`,
      );
  }
}

const ownFolder = fileURLToPath(new URL("../../../scripts/", import.meta.url));
const ownScript = (name: string): string => `${ownFolder}${name}.${ownType}`;

/** Names of the scripts of this package, which are also commands. */
function ownScripts(): string[] {
  return readdirSync(ownFolder).flatMap((name) => name.endsWith(`.${ownType}`) ? [name.slice(0, -3)] : []).sort();
}

function scriptProblem(command: string, script: string | undefined): string | undefined {
  if (script === undefined || script.startsWith("-")) {
    return `Name a script: voxgrad ${command} scripts/train_unet.ts${scriptsHere()}`;
  }
  if (!existsSync(script)) return `Cannot ${command} ${script}: there is no such file${scriptsHere()}`;
  if (!statSync(script).isFile()) return `Cannot ${command} ${script}: it is not a file${scriptsHere()}`;
  if (!/\.(ts|mts|js|mjs)$/.test(script)) return `Cannot ${command} ${script}: it is no .ts or .js file`;
  return undefined;
}

function scriptsHere(): string {
  if (!existsSync("scripts")) return "";
  const names = readdirSync("scripts").filter((name) => name.endsWith(".ts"));
  return names.length ? `\nScripts here: ${names.map((name) => `scripts/${name}`).join(", ")}` : "";
}

function misunderstood(problem: string): number {
  console.error(`${problem}\nvoxgrad --help lists what there is`);
  return 2;
}
