import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { optionalVersions } from "../optional_packages.mjs";
import { ownType, packageRoot } from "../package_root.ts";
import { version } from "./version.ts";

const template = fileURLToPath(new URL("../../../scripts/project/", import.meta.url));

/**
 * The folder or file that this package is, or was installed from; undefined where npm's registry, or another program
 * than npm, gave it.
 */
async function ownSource(): Promise<string | undefined> {
  if (ownType === "ts") return fileURLToPath(packageRoot);
  const modules = fileURLToPath(new URL("../", packageRoot));
  const lock = await readFile(join(modules, ".package-lock.json"), "utf8").catch(() => "{}");
  const { packages } = JSON.parse(lock) as { packages?: Record<string, { resolved?: string }> };
  const source = packages?.["node_modules/voxgrad"]?.resolved;
  return source?.startsWith("file:") ? resolve(modules, "..", source.slice("file:".length)) : undefined;
}

/**
 * Makes a project: scripts that train and segment, a page, and a package.json with what they need.
 *
 * @returns the exit code
 */
export async function newProject(folder: string): Promise<number> {
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).length > 0) {
    console.error(`${folder} is not empty; name a folder that is, or that does not exist yet`);
    return 1;
  }
  await cp(template, folder, { recursive: true });
  // A clone, and a tarball of `npm pack`, make projects that use them, whether or not their version is published.
  const source = await ownSource();
  const { "@sparticuz/chromium": swiftShader, esbuild, webgpu } = optionalVersions;
  const project = {
    name: basename(resolve(folder)).toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[._-]+/, "") || "project",
    private: true,
    type: "module",
    scripts: {
      start: "voxgrad run train.ts --run runs/first --overwrite",
      segment: "voxgrad run segment.ts",
      page: "esbuild --servedir=. --serve=127.0.0.1:8000",
      doctor: "voxgrad doctor",
    },
    dependencies: {
      voxgrad: source === undefined ? version() : `file:${relative(resolve(folder), source) || "."}`,
      esbuild,
      webgpu,
    },
    // SwiftShader, a driver for the CPU where there is no other.
    ...(process.platform === "linux" && process.arch === "x64" &&
      { optionalDependencies: { "@sparticuz/chromium": swiftShader } }),
  };
  await writeFile(join(folder, "package.json"), `${JSON.stringify(project, null, 2)}\n`);
  await writeFile(join(folder, ".gitignore"), "node_modules/\nruns/\n*.nii.gz\n");
  console.log(`${folder} is made: cd ${folder} && npm i && npm start; its README.md says what else there is`);
  if (ownType === "ts") console.log("It uses this clone; its page loads what npm run build writes here");
  return 0;
}
