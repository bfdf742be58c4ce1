// Declarations as they are published: those of the entry points and of what these name, without the rest of each file.
// The compiler begins each statement on a line of its own, so that words are enough to tell what needs what.
import { dirname, join } from "node:path/posix";

/** A statement of a declaration file. */
interface Statement {
  readonly text: string;
  /** The text without comments. */
  readonly code: string;
  /** What it declares; undefined for imports, exports of other files and augmentations. */
  readonly name: string | undefined;
  kept: boolean;
  /** Whether an entry point offers it. */
  offered: boolean;
}

/** An import or an export from another file. */
interface Link {
  readonly statement: Statement;
  readonly exports: boolean;
  readonly file: string;
  /** Its list: names here, and what they are there. */
  readonly names: ReadonlyMap<string, { readonly there: string; readonly word: string }> | undefined;
  /** The name of all names together, as in `* as tree`. */
  readonly together: string | undefined;
  /** The words of its list that are needed. */
  readonly words: Set<string>;
}

interface File {
  readonly statements: readonly Statement[];
  readonly links: readonly Link[];
}

const COMMENT = /\/\*\*(?:(?!\*\/)[^])*\*\/\n?/g;
const BEGIN = /^(?=\/\*\*|\/\/\/|(?:export|import|declare|interface|type)\b)/m;
const NAME =
  /^(?:export )?(?:declare )?(?:abstract )?(const|let|function|class|interface|type|namespace|enum) ([\w$]+)/;
const LINK = /^(import|export) (?:type )?(?:\*(?: as (\w+))?|\{([^}]*)\}) from "(\.[^"]*)\.js"/;

const LIST = /^((?:import|export) (?:type )?)\{[^}]*\}/m;
const VALUES = ["const", "let", "function"];

function read(path: string, code: string): File {
  const texts: string[] = [];
  for (const part of code.split(BEGIN)) {
    // A comment belongs to what follows, and members of a union to what it begins with.
    const within = /(\*\/|[=|&])\s*$/.test(texts.at(-1) ?? "") || /^\s*[|&]/.test(part.replace(COMMENT, ""));
    if (texts.length > 0 && within) texts.push(texts.pop() + part);
    else texts.push(part);
  }
  const statements = texts.map((text): Statement => {
    const own = text.replace(COMMENT, "").trim();
    return { text, code: own, name: NAME.exec(own)?.[2], kept: own === "export {};", offered: false };
  });
  const links = statements.flatMap((statement): Link[] => {
    const [, verb, together, list, target] = LINK.exec(statement.code) ?? [];
    if (target === undefined) return [];
    const words = list?.split(",").map((word) => word.trim()).filter((word) => word !== "");
    const names = words?.map((word) => {
      const [there, here = there] = word.replace(/^type /, "").split(" as ");
      return [here, { there, word }] as const;
    });
    const file = join(dirname(path), `${target}.d.ts`);
    return [{
      statement,
      exports: verb === "export",
      file,
      names: names && new Map(names),
      together,
      words: new Set<string>(),
    }];
  });
  return { statements, links };
}

/** What a name is looked up as: of the file itself, as what it gives other files, as what an entry point offers. */
type Use = "own" | "given" | "offered";

/**
 * What is left of declaration files if only what some of them offer is needed.
 *
 * @param codes by path
 * @param entries paths of files whose exports are needed
 * @param augmenting paths of files that add to the interfaces of others, which nothing names
 */
export function neededDeclarations(
  codes: ReadonlyMap<string, string>,
  entries: readonly string[],
  augmenting: readonly string[],
): Map<string, string> {
  const files = new Map([...codes].map(([path, code]) => [path, read(path, code)]));

  /** Keeps a statement and what its words may mean. */
  const keep = (path: string, statement: Statement, use: Use): void => {
    statement.offered ||= use === "offered";
    if (statement.kept) return;
    statement.kept = true;
    for (const [, target, name] of statement.code.matchAll(/\bimport\("(\.[^"]*)\.js"\)\.(\w+)/g)) {
      keepName(join(dirname(path), `${target}.d.ts`), name, "given");
    }
    for (const word of new Set(statement.code.match(/[\w$]+/g))) keepName(path, word, "own");
  };

  const keepName = (path: string, name: string, use: Use): boolean => {
    const { statements, links } = files.get(path)!;
    const own = statements.filter((statement) => statement.name === name);
    for (const statement of own) keep(path, statement, use);
    const further = use === "own" ? "given" : use;
    return links.filter(({ exports }) => exports === (use !== "own")).reduce((found, link) => {
      const listed = link.names?.get(name);
      if (listed) {
        link.words.add(listed.word);
        keepName(link.file, listed.there, further);
      } else if (link.together === name) keepAll(link.file, further);
      else if (link.names || link.together !== undefined || !keepName(link.file, name, further)) return found;
      return link.statement.kept = true;
    }, own.length > 0);
  };

  /** Keeps all that a file exports. */
  const keepAll = (path: string, use: Use): void => {
    const { statements, links } = files.get(path)!;
    for (const statement of statements) {
      if (statement.name !== undefined && statement.code.startsWith("export ")) keep(path, statement, use);
    }
    for (const { statement, file, names, words } of links.filter(({ exports }) => exports)) {
      statement.kept = true;
      if (!names) keepAll(file, use);
      for (const { there, word } of names?.values() ?? []) {
        words.add(word);
        keepName(file, there, use);
      }
    }
  };

  for (const path of entries) keepAll(path, "offered");
  for (const path of augmenting) for (const statement of files.get(path)!.statements) keep(path, statement, "own");

  const left = new Map<string, string>();
  for (const [path, { statements, links }] of files) {
    const needed = statements.filter(({ kept, code }) => kept && code !== "export {};");
    if (needed.length === 0) continue;
    const texts = statements.filter(({ kept }) => kept).map((statement) => {
      const link = links.find((each) => each.statement === statement);
      const [, kind = ""] = NAME.exec(statement.code) ?? [];
      // What nobody can import needs no comment, nor does a file: types are seen through what is offered.
      const hidden = link ? !entries.includes(path) : !statement.offered && VALUES.includes(kind);
      const text = hidden ? statement.text.replace(COMMENT, "") : statement.text;
      return link?.names ? text.replace(LIST, `$1{ ${[...link.words].join(", ")} }`) : text;
    });
    left.set(path, texts.join(""));
  }
  return left;
}
