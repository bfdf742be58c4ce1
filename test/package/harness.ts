/** Projects that install the packed package, as its users do; everything they need comes from npm. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, writeFile } from "node:fs/promises";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const minutes = 10;
const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];

const { version, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** What voxgrad is developed with, by package. */
export const versions: Readonly<Record<string, string>> = devDependencies;
/** What a project adds to compute in Node, without a driver too, and to run TypeScript and pages. */
export const optional: readonly string[] = ["webgpu", "@sparticuz/chromium", "esbuild"].map((name) =>
  `${name}@${versions[name]}`
);

const folder = mkdtempSync(join(tmpdir(), "voxgrad-package-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

/** The packed package, which `npm run test:package` writes. */
export const tarball = join(root, `.cache/voxgrad-${version}.tgz`);
if (!existsSync(tarball)) throw new Error(`There is no ${tarball}: npm run test:package packs it`);

export interface Ended {
  readonly code: number;
  /** Standard output and error. */
  readonly output: string;
}

/** Runs a program in a folder to its end. */
export function run(program: string, words: readonly string[], cwd: string, env = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...process.env, ...env }, timeout: minutes * 60_000, maxBuffer: 2 ** 26 };
    execFile(program, words, options, (error, stdout, stderr) => {
      const code = error ? Number(error.code) || 1 : 0;
      resolve({ code, output: stdout + stderr + (error?.killed ? `\nStopped after ${minutes} minutes` : "") });
    });
  });
}

/** The same; anything but success is an error with the output. */
export async function runWell(program: string, words: readonly string[], cwd: string, env = {}): Promise<string> {
  const { code, output } = await run(program, words, cwd, env);
  if (code !== 0) throw new Error(`${[program, ...words].join(" ")}: exit code ${code}\n${output}`);
  return output;
}

/** Installs packages of npm into a new folder. */
export async function install(packages: readonly string[]): Promise<string> {
  const place = await mkdtemp(join(folder, "project-"));
  await writeFile(join(place, "package.json"), '{ "private": true, "type": "module" }\n');
  await runWell("npm", ["install", "--prefer-offline", "--save-exact", ...quiet, ...packages], place);
  return place;
}

/** A project of files, with the package, others beside it, and what test/package/project holds. */
export async function project(packages: readonly string[], files: Readonly<Record<string, string>> = {}) {
  const place = await install([tarball, ...packages]);
  await cp(fileURLToPath(new URL("project/", import.meta.url)), place, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(place, name), text);
  return place;
}

const nodes = new Map<string, Promise<string>>();

/** The program of a Node version, out of npm. */
export function nodeProgram(version: string): Promise<string> {
  if (!nodes.has(version)) {
    nodes.set(version, install([`node@${version}`]).then((place) => join(place, "node_modules/node/bin/node")));
  }
  return nodes.get(version)!;
}

/** The program of a command that a project has installed. */
export const command = (place: string, name: string): string => join(place, "node_modules/.bin", name);
