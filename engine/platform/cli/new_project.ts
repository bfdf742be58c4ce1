import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { optionalVersions } from "../optional_packages.mjs";
import { ownType, packageRoot } from "../package_root.ts";
import { version } from "./version.ts";

const template = fileURLToPath(new URL("../../../scripts/project/", import.meta.url));

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
  // A clone makes projects that use its sources, whether or not their version is published.
  const clone = ownType === "ts" ? relative(resolve(folder), fileURLToPath(packageRoot)) || "." : undefined;
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
    dependencies: { voxgrad: clone ? `file:${clone}` : version(), esbuild, webgpu },
    // SwiftShader, a driver for the CPU where there is no other.
    ...(process.platform === "linux" && process.arch === "x64" &&
      { optionalDependencies: { "@sparticuz/chromium": swiftShader } }),
  };
  await writeFile(join(folder, "package.json"), `${JSON.stringify(project, null, 2)}\n`);
  await writeFile(join(folder, ".gitignore"), "node_modules/\nruns/\n*.nii.gz\n");
  console.log(`${folder} is made: cd ${folder} && npm i && npm start; its README.md says what else there is`);
  if (clone) console.log("It uses this clone; its page loads what npm run build writes here");
  return 0;
}
