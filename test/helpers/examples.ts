/** Runs the TypeScript blocks of Markdown files and JSDoc. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { join } from "node:path";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export interface Block {
  readonly file: string;
  readonly line: number;
  /** The language after the fence: "ts", "sh", ... */
  readonly language: string;
  readonly code: string;
}

/** The fenced blocks of a file, also those that Deno is to ignore; for .ts files those in JSDoc comments. */
export function blocksOf(file: string): Block[] {
  const source = readFileSync(join(ROOT, file), "utf8");
  const text = file.endsWith(".ts") ? source.replace(/^[ \t]*\*( |$)/gm, "") : source;
  return [...text.matchAll(/^```(\w+)(?: ignore)?\n([\s\S]*?)^```$/gm)].map((match) => ({
    file,
    line: text.slice(0, match.index).split("\n").length,
    language: match[1],
    code: match[2],
  }));
}

/**
 * The code with its comments checked: `x.f(); // [1, 2]` compares the value (numbers to 1 %), and
 * `const y = f(x); // [1, 8, 4]` the shape of a tensor.
 */
export const checked = (code: string): string =>
  code.split("\n").map((line) => {
    const value =
      /^(?!const |let |import |for |console)([^/]*[^\s/].*); \/\/ (\[.*\]|-?\d[\d.e-]*|"[^"]*"|true|false)(?:; .*)?$/
        .exec(
          line,
        );
    if (value) return `sameValue(${value[1]}, ${value[2]});`;
    const shape = /^const (\w+) = .*; \/\/ (?:f32 |i32 |bool )?(\[\d+(?:, \d+)*\])$/.exec(line);
    return shape ? `${line}\nsameShape(${shape[1]}, ${shape[2]});` : line;
  }).join("\n");

const CHECKS = `
function sameValue(got: any, wanted: any): void {
  const near = (a: any, b: any): boolean =>
    typeof b === "number" ? Math.abs(a - b) <= 0.01 * Math.abs(b) + 1e-6
    : Array.isArray(b) ? a.length === b.length && b.every((_: unknown, i: number) => near(a[i], b[i]))
    : a === b;
  if (!near(got, wanted)) throw new Error(\`got \${JSON.stringify(got)}, the comment says \${JSON.stringify(wanted)}\`);
}
function sameShape(got: any, wanted: number[]): void {
  const shape = got.shape ?? (Array.isArray(got) ? got : undefined);
  if (shape) sameValue([...shape], wanted);
}
`;

/**
 * Runs code as a module below the root, where "voxgrad" is this package, with an empty folder as working directory, and
 * returns its console.log output.
 */
export async function runCode(code: string): Promise<string[]> {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, ".cache/example-"));
  const [before, log, lines] = [process.cwd(), console.log, [] as string[]];
  writeFileSync(join(folder, "example.ts"), checked(code) + CHECKS);
  process.chdir(folder);
  console.log = (...values: unknown[]) => void lines.push(values.join(" "));
  try {
    await import(pathToFileURL(join(folder, "example.ts")).href);
  } finally {
    console.log = log;
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
  return lines;
}
