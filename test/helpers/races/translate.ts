/** Translates a kernel in WGSL to JavaScript whose invocations wait for each other where those of a GPU do. */
import { Expressions, type Meaning, owned, type Site } from "./expressions.ts";
import { binary } from "./operators.ts";
import { Reader } from "./tokens.ts";
import { as, materialized, type Place, scalar, type Type, type Value, VOID, zero } from "./types.ts";

/** A variable in the memory of a workgroup or in a buffer. */
export interface Shared {
  readonly name: string;
  /** Uniform buffers are storage that is only read. */
  readonly space: "workgroup" | "storage";
  /** Of an element. */
  readonly type: Type;
  /** Elements; null for a buffer's own number. */
  readonly size: number | null;
  readonly binding: number;
  readonly writable: boolean;
}

export interface Translated {
  readonly workgroupSize: readonly [number, number, number];
  readonly shared: readonly Shared[];
  readonly sites: readonly Site[];
  /** Builtin values that `main` takes, in order. */
  readonly builtins: readonly string[];
  /** Whether `main` waits, and hence is a generator. */
  readonly suspends: boolean;
  /** JavaScript of a function of the runtime `R` and the memories `M` by name, which gives `main` and `combine`. */
  readonly code: string;
}

interface Defined {
  readonly name: string;
  readonly parameters: readonly { readonly name: string; readonly type: Type; readonly builtin: string }[];
  readonly result: Type;
  /** The first token of its body. */
  readonly at: number;
  suspends: boolean | null;
}

class Translator extends Expressions {
  protected readonly reader: Reader;
  readonly shared: Shared[] = [];
  readonly functions = new Map<string, Defined>();
  /** Translated functions and constants, callees first. */
  readonly parts: string[] = [];
  workgroupSize: readonly [number, number, number] = [1, 1, 1];
  #scopes: Map<string, Meaning>[] = [new Map()];
  #names = 0;
  #result: Type = VOID;

  constructor(source: string) {
    super();
    this.reader = new Reader(source);
    while (this.reader.token.kind !== "end") this.#declaration();
  }

  protected meaning(name: string): Meaning | undefined {
    for (let k = this.#scopes.length - 1; k >= 0; k--) {
      const found = this.#scopes[k].get(name);
      if (found) return found;
    }
  }

  #define(name: string, meaning: Meaning): void {
    this.#scopes.at(-1)!.set(name, meaning);
  }

  #declaration(): void {
    const attributes = this.#attributes();
    const { reader } = this;
    const keyword = reader.name();
    switch (keyword) {
      case "enable":
      case "requires":
      case "diagnostic":
        while (!reader.accept(";")) reader.next();
        return;
      case "alias": {
        const name = reader.name();
        reader.expect("=");
        this.#define(name, { kind: "type", type: this.type() });
        return reader.expect(";");
      }
      case "struct": {
        const name = reader.name();
        reader.expect("{");
        const members = reader.list("}", (): [string, Type] => {
          const member = reader.name();
          reader.expect(":");
          return [member, this.type()];
        });
        this.#define(name, { kind: "type", type: { kind: "struct", name, members: new Map(members) } });
        return;
      }
      case "const":
        this.parts.push(this.#variable(false));
        return reader.expect(";");
      case "var":
        return this.#memory(attributes);
      case "fn":
        return this.#header(attributes);
      default:
        reader.fail(`no declaration begins with ${keyword}`);
    }
  }

  /** The arguments of attributes by name. */
  #attributes(): Map<string, string[]> {
    const found = new Map<string, string[]>();
    while (this.reader.accept("@")) {
      const name = this.reader.name();
      found.set(name, this.reader.accept("(") ? this.reader.list(")", () => this.reader.next().text) : []);
    }
    return found;
  }

  #memory(attributes: ReadonlyMap<string, string[]>): void {
    const { reader } = this;
    reader.expect("<");
    const space = reader.name();
    const bound = space === "storage" || space === "uniform";
    if (!bound && space !== "workgroup") return reader.fail(`no variables of address space ${space}`);
    const access = reader.accept(",") ? reader.name() : bound ? "read" : "read_write";
    reader.closeTemplate();
    const name = reader.name();
    reader.expect(":");
    const type = this.type();
    reader.expect(";");
    if (type.kind !== "array") return reader.fail(`${name}: shared variables are arrays`);
    const binding = bound ? parseInt(attributes.get("binding")![0]) : -1;
    this.shared.push({
      name,
      space: bound ? "storage" : space,
      type: type.of,
      size: type.size,
      binding,
      writable: access === "read_write",
    });
    const memory = `M.${name}`;
    this.#define(name, { kind: "value", value: { code: memory, type, place: { kind: "memory", memory } } });
  }

  #header(attributes: ReadonlyMap<string, string[]>): void {
    const { reader } = this;
    const name = reader.name();
    reader.expect("(");
    const parameters = reader.list(")", () => {
      const builtin = this.#attributes().get("builtin")?.[0] ?? "";
      const parameter = reader.name();
      reader.expect(":");
      return { name: parameter, type: this.type(), builtin };
    });
    const result = reader.accept("->") ? this.type() : VOID;
    if (attributes.has("compute")) {
      const [x = 1, y = 1, z = 1] = (attributes.get("workgroup_size") ?? []).map((n) => parseInt(n));
      this.workgroupSize = [x, y, z];
    }
    this.functions.set(name, { name, parameters, result, at: reader.at, suspends: null });
    reader.skipBlock();
  }

  /** Translates a function when it is first called. */
  translated(name: string): Defined {
    const f = this.functions.get(name)!;
    if (f.suspends !== null) return f;
    const outer = { at: this.reader.at, scopes: this.#scopes, result: this.#result, suspends: this.suspends };
    this.reader.at = f.at;
    this.#scopes = [this.#scopes[0], new Map()];
    [this.#result, this.suspends] = [f.result, false];
    const names = f.parameters.map((p) => this.#local(p.name, p.type, false));
    const body = this.#block();
    f.suspends = this.suspends;
    this.parts.push(`function${f.suspends ? "*" : ""} $${name}(${names.join(", ")}) ${body}`);
    this.reader.at = outer.at;
    [this.#scopes, this.#result, this.suspends] = [outer.scopes, outer.result, outer.suspends];
    return f;
  }

  protected call(name: string, args: readonly Value[]): Value | null {
    if (!this.functions.has(name)) return null;
    const f = this.translated(name);
    if (args.length !== f.parameters.length) this.reader.fail(`${name} takes ${f.parameters.length} arguments`);
    const code = `$${name}(${args.map((arg, k) => owned(as(arg, f.parameters[k].type))).join(", ")})`;
    this.suspends ||= f.suspends!;
    return { code: f.suspends ? `(yield* ${code})` : code, type: f.result };
  }

  /** Defines a variable of JavaScript for one of WGSL, whose inner ones may hide outer ones. */
  #local(name: string, type: Type, isVariable: boolean): string {
    const code = `${name}_${this.#names++}`;
    const place: Place | undefined = isVariable ? { kind: "variable", code } : undefined;
    this.#define(name, { kind: "value", value: { code, type, ...(place && { place }) } });
    return code;
  }

  /** What follows `let`, `const` or `var`, without the semicolon. */
  #variable(isVariable: boolean): string {
    const { reader } = this;
    const name = reader.name();
    const type = reader.accept(":") ? this.type() : null;
    if (!reader.accept("=")) {
      if (!type) reader.fail("a variable without type and value");
      return `let ${this.#local(name, type!, isVariable)} = ${zero(type!)};`;
    }
    const given = this.expression();
    const value = type ? as(given, type) : materialized(given);
    const code = owned(value);
    return `${isVariable ? "let" : "const"} ${this.#local(name, value.type, isVariable)} = ${code};`;
  }

  #block(): string {
    this.reader.expect("{");
    this.#scopes.push(new Map());
    const statements: string[] = [];
    while (!this.reader.accept("}")) statements.push(this.#statement());
    this.#scopes.pop();
    return `{\n${statements.join("\n")}\n}`;
  }

  #statement(): string {
    const { reader } = this;
    if (reader.is("{")) return this.#block();
    if (reader.accept(";")) return "";
    if (reader.accept("if")) return this.#if();
    if (reader.accept("for")) return this.#for();
    if (reader.accept("while")) {
      const condition = as(this.expression(), scalar("bool")).code;
      return `while (${condition}) ${this.#block()}`;
    }
    const statement = this.#simple();
    reader.expect(";");
    return statement;
  }

  /** A statement without its semicolon. */
  #simple(): string {
    const { reader } = this;
    if (reader.accept("let") || reader.accept("const")) return this.#variable(false);
    if (reader.accept("var")) return this.#variable(true);
    if (reader.accept("break")) return "break;";
    if (reader.accept("continue")) return "continue;";
    if (reader.accept("return")) {
      return reader.is(";") ? "return;" : `return ${owned(as(this.expression(), this.#result))};`;
    }
    if (reader.accept("_")) {
      reader.expect("=");
      return `${this.expression().code};`;
    }
    const target = this.expression();
    const operator = reader.token.text;
    if (operator === ";" || operator === ")") return `${target.code};`;
    const { line } = reader.next();
    if (operator === "=") return this.#assign(target, () => this.expression(), line);
    const step: Value = { code: "1", type: target.type };
    const right = (): Value => (operator === "++" || operator === "--" ? step : this.expression());
    return this.#assign(
      target,
      (old) => binary(this.helpers, operator[0] + (operator[2] ? operator[1] : ""), old, right()),
      line,
    );
  }

  /** An assignment to a place, whose index is computed once. */
  #assign(target: Value, value: (old: Value) => Value, line: number): string {
    const { place, type } = target;
    const of = (old: Value): string => owned(as(value(old), type));
    if (place?.kind === "variable") return `${place.code} = ${of(target)};`;
    if (place?.kind === "part") {
      return `{ const at = ${place.index}; ${place.base}[at] = ${of({ type, code: `${place.base}[at]` })}; }`;
    }
    if (place?.kind !== "element" || type.kind === "atomic") return this.reader.fail("cannot assign to this");
    const { memory, index } = place.element;
    return `{ const at = ${index}; ${memory}.store(at, ${
      of({ type, code: `${memory}.load(at, ${line})` })
    }, ${line}); }`;
  }

  #if(): string {
    const condition = as(this.expression(), scalar("bool")).code;
    const yes = this.#block();
    if (!this.reader.accept("else")) return `if (${condition}) ${yes}`;
    return `if (${condition}) ${yes} else ${this.reader.accept("if") ? this.#if() : this.#block()}`;
  }

  #for(): string {
    const { reader } = this;
    reader.expect("(");
    this.#scopes.push(new Map());
    const begin = reader.is(";") ? "" : this.#simple();
    reader.expect(";");
    const condition = reader.is(";") ? "" : as(this.expression(), scalar("bool")).code;
    reader.expect(";");
    const step = reader.is(")") ? "" : this.#simple();
    reader.expect(")");
    const body = this.#block();
    this.#scopes.pop();
    if (step.startsWith("{")) reader.fail("a loop steps by a variable");
    return `for (${begin || ";"} ${condition}; ${step.replace(/;$/, "")}) ${body}`;
  }
}

/** @throws Error for WGSL that it does not know */
export function translate(source: string): Translated {
  const t = new Translator(source);
  const main = t.translated("main");
  const combine = t.sites.map(({ combine }) => combine ?? "null");
  const code = [
    `"use strict";`,
    "const { F, H } = R;",
    ...t.helpers.values(),
    ...t.parts,
    `return { main: $main, combine: [${combine.join(", ")}] };`,
  ].join("\n");
  return {
    workgroupSize: t.workgroupSize,
    shared: t.shared,
    sites: t.sites,
    builtins: main.parameters.map(({ builtin }) => builtin),
    suspends: main.suspends!,
    code,
  };
}
