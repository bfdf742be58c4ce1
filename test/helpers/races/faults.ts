/** Faults to plant in kernels. */
import { Reader, type Token } from "./tokens.ts";

export interface Fault {
  readonly name: string;
  readonly source: string;
}

/** The source with the text between two tokens changed. */
const edited = (source: string, first: Token, last: Token, text: string): string =>
  source.slice(0, first.from) + text + source.slice(last.to);

/** `workgroupBarrier();` and others: their first and last tokens. */
function barriersOf(tokens: readonly Token[]): [Token, Token][] {
  return tokens.flatMap((token, k): [Token, Token][] => /Barrier$/.test(token.text) ? [[token, tokens[k + 3]]] : []);
}

/** The kernel without each of its barriers in turn. */
export function withoutBarriers(source: string): Fault[] {
  return barriersOf(new Reader(source).tokens).map(([first, last]) => ({
    name: `no ${first.text} in line ${first.line}`,
    source: edited(source, first, last, ""),
  }));
}

/** The kernel where one invocation does not reach each barrier in turn. */
export function withSkippedBarriers(source: string): Fault[] {
  const local = /@builtin\(local_invocation_index\)\s*(\w+)/.exec(source)?.[1];
  return barriersOf(new Reader(source).tokens).map(([first, last]) => ({
    name: `a skipped ${first.text} in line ${first.line}`,
    source: edited(source, first, last, `if (${local} != 5u) { ${first.text}(); }`),
  }));
}

/** The kernel with each of its writes to shared memory in turn at the next index. */
export function withMovedWrites(source: string): Fault[] {
  const { tokens } = new Reader(source);
  const shared = new Set(tokens.filter((_, k) => isDeclaration(tokens, k)).map(({ text }) => text));
  const faults: Fault[] = [];
  const move = (from: number, to: number): void => {
    const [first, last] = [tokens[from], tokens[to]];
    const index = source.slice(first.from, last.to);
    faults.push({
      name: `a write at the next index in line ${first.line}`,
      source: edited(source, first, last, `(${index}) + 1u`),
    });
  };
  tokens.forEach(({ text }, k) => {
    // `subgroupMatrixStore<order>(&memory, index, ...)`
    if (text === "subgroupMatrixStore") return move(k + 8, endOf(tokens, k + 8) - 1);
    if (!shared.has(text) || tokens[k + 1].text !== "[") return;
    const end = endOf(tokens, k + 2);
    if (/^([-+*]?=|\+\+|--)$/.test(tokens[end + 1].text)) move(k + 2, end - 1);
  });
  return faults;
}

/** Whether a token is the name of a variable in shared memory. */
function isDeclaration(tokens: readonly Token[], k: number): boolean {
  if (tokens[k + 1]?.text !== ":" || tokens[k - 1]?.text !== ">") return false;
  const words = tokens.slice(Math.max(0, k - 6), k).map(({ text }) => text).join("");
  return /var<(workgroup|storage,read_write)>$/.test(words);
}

/** The comma or bracket after the expression that begins at a token. */
function endOf(tokens: readonly Token[], at: number): number {
  for (let depth = 0;; at++) {
    const { text } = tokens[at];
    if (depth === 0 && [",", "]", ")"].includes(text)) return at;
    if ("([".includes(text)) depth++;
    if (")]".includes(text)) depth--;
  }
}
