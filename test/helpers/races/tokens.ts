/** Tokens of WGSL. */

export interface Token {
  readonly text: string;
  readonly kind: "number" | "name" | "sign" | "end";
  readonly line: number;
  /** Its first and last character, exclusive, in the source. */
  readonly from: number;
  readonly to: number;
}

const PATTERN = new RegExp(
  [
    String.raw`(\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)`,
    String.raw`(0[xX][\da-fA-F]+[iu]?|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?[iufh]?)`,
    String.raw`([A-Za-z_]\w*)`,
    String.raw`(->|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|[-+*/%&|^]=|[-+*/%&|^=<>!~(){}[\].,:;@])`,
  ].join("|"),
  "y",
);

export function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  PATTERN.lastIndex = 0;
  while (PATTERN.lastIndex < source.length) {
    const from = PATTERN.lastIndex;
    const match = PATTERN.exec(source);
    if (!match) throw new Error(`line ${line}: no WGSL token at ${JSON.stringify(source.slice(from, from + 20))}`);
    const [text, space, number, name] = match;
    if (space === undefined) {
      const kind = number !== undefined ? "number" : name !== undefined ? "name" : "sign";
      tokens.push({ text, kind, line, from, to: from + text.length });
    } else line += space.split("\n").length - 1;
  }
  tokens.push({ text: "the end", kind: "end", line, from: source.length, to: source.length });
  return tokens;
}

/** A position in a list of tokens. */
export class Reader {
  readonly tokens: Token[];
  at = 0;

  constructor(source: string) {
    this.tokens = tokensOf(source);
  }

  get token(): Token {
    return this.tokens[this.at];
  }

  get line(): number {
    return this.token.line;
  }

  next(): Token {
    return this.tokens[this.at++];
  }

  is(text: string): boolean {
    return this.token.text === text;
  }

  /** Whether the token is this one, which it then passes. */
  accept(text: string): boolean {
    if (!this.is(text)) return false;
    this.at++;
    return true;
  }

  expect(text: string): void {
    if (!this.accept(text)) this.fail(`expected ${text}`);
  }

  name(): string {
    if (this.token.kind !== "name") this.fail("expected a name");
    return this.next().text;
  }

  /** Passes the end of a template list; of `>>` and the like its first half. */
  closeTemplate(): void {
    const token = this.token;
    if (token.text[0] !== ">") this.fail("expected >");
    if (token.text === ">") this.at++;
    else this.tokens[this.at] = { ...token, text: token.text.slice(1), from: token.from + 1 };
  }

  /** Elements up to `end`, which it passes; a comma may follow the last. */
  list<T>(end: string, read: () => T): T[] {
    const items: T[] = [];
    while (!this.accept(end)) {
      items.push(read());
      if (!this.accept(",") && !this.is(end)) this.fail(`expected , or ${end}`);
    }
    return items;
  }

  /** Passes a block in braces, at whose first brace it is. */
  skipBlock(): void {
    this.expect("{");
    for (let depth = 1; depth > 0;) {
      const token = this.next();
      if (token.kind === "end") throw new Error("a block has no end");
      depth += token.text === "{" ? 1 : token.text === "}" ? -1 : 0;
    }
  }

  fail(message: string): never {
    throw new Error(`WGSL, line ${this.line}: ${message}, got ${this.token.text}`);
  }
}
