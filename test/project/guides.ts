/** The guides of this repository, and the commands that they have a reader type. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { blocksOf, ROOT } from "../helpers/examples.ts";

const readmes = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && /^(engine|shaders|models|scripts|bench|test)$/.test(entry.name))
  .flatMap(({ name }) => readdirSync(join(ROOT, name), { recursive: true }).map((file) => join(name, `${file}`)))
  .filter((file) => file.endsWith("README.md") && !/node_modules|scripts\/project/.test(file));

/** Markdown files whose examples run; scripts/project belongs to the projects that `voxgrad new` makes. */
export const guides = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", ...readmes];

/** A command, with where it stands. */
export interface GuideCommand {
  readonly file: string;
  readonly words: readonly string[];
}

/** Words of a command line; quotes keep blanks. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word.replace(/["']/g, ""));

/** Without options whose value the reader is to choose, as in `--network NAME`. */
const chosen = (words: readonly string[]): string[] =>
  words.filter((word, k) => {
    const open = (value: string | undefined) => value === "NAME" || value === "N";
    return !(word.startsWith("--") && open(words[k + 1])) && !(open(word) && words[k - 1]?.startsWith("--"));
  });

/** Commands of a line or an inline span: those of a chain by themselves, without variables before them. */
const commandsIn = (file: string, line: string): GuideCommand[] =>
  line.split(" && ").map((part) => ({ file, words: chosen(wordsOf(part.replace(/^(?:[A-Z_]+=\S* )+/, ""))) }))
    .filter(({ words }) => words.length > 0);

/** Text without its fenced blocks; of a program its comments of whole lines. */
function prose(file: string): string {
  const text = readFileSync(join(ROOT, file), "utf8");
  if (!file.endsWith(".ts")) return text.replace(/^```[\s\S]*?^```$/gm, "");
  return [...text.matchAll(/^ *(?:\/\/|\*) (.*)$/gm)].map(([, line]) => line).join("\n");
}

/** What stands between backticks in the prose of a file. */
export const spansOf = (file: string): string[] =>
  [...prose(file).matchAll(/`([^`]+)`/g)].map(([, code]) => code.replace(/\s+/g, " "));

/** Commands of the shell blocks, without comments, continued lines joined. */
export const shellCommands = (file: string): GuideCommand[] =>
  blocksOf(file).filter(({ language }) => language === "sh").flatMap(({ code }) =>
    code.replace(/\\\n/g, " ").replace(/'[^']*'/g, (text) => text.replace(/\s+/g, " ")).split("\n")
      .map((line) => line.replace(/(^|\s+)#.*$/, "").trim()).filter((line) => line !== "")
      .flatMap((line) => commandsIn(file, line))
  );

/** Commands in the prose. */
export const inlineCommands = (file: string): GuideCommand[] =>
  spansOf(file).filter((code) => /^(?:[A-Z_]+=\S* )*(?:npx|npm|node|deno|voxgrad) |bench\/probes\/\w+\.ts /.test(code))
    .flatMap((code) => commandsIn(file, code));
