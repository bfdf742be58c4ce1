/** Reads expressions and types of WGSL, and translates them to JavaScript. */
import { binary, bitcast, builtin, constructed, type Helpers, unary } from "./operators.ts";
import type { Reader } from "./tokens.ts";
import { as, constant, materialized, type Place, scalar, scalarOf, show, type Type, unified } from "./types.ts";
import { type Value, vector, VOID, zero } from "./types.ts";

/** Where invocations wait for each other. */
export interface Site {
  readonly name: string;
  readonly line: number;
  /** JavaScript of a function of two values, for reductions of a subgroup. */
  readonly combine?: string;
  /** Rows and columns of the matrices, and the order of memory, for subgroup matrices. */
  readonly shape?: readonly number[];
  readonly byColumns?: boolean;
}

/** What a name means. */
export type Meaning =
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "type"; readonly type: Type };

const LEVELS: readonly (readonly string[])[] = [
  ["||"],
  ["&&"],
  ["|"],
  ["^"],
  ["&"],
  ["==", "!=", "<", "<=", ">", ">="],
  ["<<", ">>"],
  ["+", "-"],
  ["*", "/", "%"],
];

const SUFFIXES = { f: "f32", h: "f16", i: "i32", u: "u32" } as const;
const SCALARS = ["f32", "f16", "i32", "u32", "bool"] as const;
const COMBINING: Record<string, string> = {
  subgroupAdd: "+",
  subgroupInclusiveAdd: "+",
  subgroupExclusiveAdd: "+",
  subgroupMul: "*",
  subgroupAnd: "&",
  subgroupOr: "|",
  subgroupXor: "^",
};
/** Subgroup functions of a value, or of a value and a lane or a number of lanes. */
const SHARING = [
  ...Object.keys(COMBINING),
  "subgroupMin",
  "subgroupMax",
  "subgroupBroadcast",
  "subgroupBroadcastFirst",
  "subgroupShuffle",
  "subgroupShuffleXor",
  "subgroupShuffleUp",
  "subgroupShuffleDown",
  "subgroupAll",
  "subgroupAny",
  "subgroupElect",
];

export abstract class Expressions {
  protected abstract readonly reader: Reader;
  readonly helpers: Helpers = new Map();
  readonly sites: Site[] = [];
  /** Whether the function at hand waits for other invocations. */
  protected suspends = false;

  protected abstract meaning(name: string): Meaning | undefined;
  /** A call of a function of the kernel; null if there is none of that name. */
  protected abstract call(name: string, args: readonly Value[]): Value | null;

  /** The number of a new site. */
  protected site(site: Site): number {
    this.suspends = true;
    return this.sites.push(site) - 1;
  }

  protected type(): Type {
    const name = this.reader.name();
    const vectors = /^vec([234])([fhiu])?$/.exec(name);
    if (vectors) {
      const size = Number(vectors[1]);
      if (vectors[2]) return vector(SUFFIXES[vectors[2] as keyof typeof SUFFIXES], size);
      return vector(scalarOf(this.template(() => this.type())[0]), size);
    }
    if (name === "atomic") return { kind: "atomic", of: scalarOf(this.template(() => this.type())[0]) };
    if (name === "array") {
      this.reader.expect("<");
      const of = this.type();
      const size = this.reader.accept(",") ? this.count() : null;
      this.reader.closeTemplate();
      return { kind: "array", of, size };
    }
    if (name.startsWith("subgroup_matrix_")) {
      this.reader.expect("<");
      this.type();
      this.reader.expect(",");
      const columns = this.count();
      this.reader.expect(",");
      const rows = this.count();
      this.reader.closeTemplate();
      return { kind: "matrix", columns, rows };
    }
    const meaning = this.meaning(name);
    if (meaning?.kind === "type") return meaning.type;
    const plain = SCALARS.find((s) => s === name);
    return plain ? scalar(plain) : this.reader.fail(`no type ${name}`);
  }

  private template<T>(read: () => T): T[] {
    this.reader.expect("<");
    const items = [read()];
    while (this.reader.accept(",")) items.push(read());
    this.reader.closeTemplate();
    return items;
  }

  /** A size in a type. */
  private count(): number {
    const { kind, text } = this.reader.next();
    if (kind !== "number") this.reader.fail("expected the number of elements");
    return parseInt(text);
  }

  private startsType(name: string): boolean {
    return /^(vec[234][fhiu]?|array|atomic)$/.test(name) || SCALARS.some((s) => s === name) ||
      this.meaning(name)?.kind === "type";
  }

  expression(level = 0): Value {
    if (level === LEVELS.length) return this.unary();
    let left = this.expression(level + 1);
    while (LEVELS[level].includes(this.reader.token.text)) {
      const operator = this.reader.next().text;
      left = binary(this.helpers, operator, left, this.expression(level + 1));
    }
    return left;
  }

  private unary(): Value {
    const { kind, text } = this.reader.token;
    if (kind === "sign" && "-!~".includes(text)) {
      this.reader.next();
      return unary(this.helpers, text, this.unary());
    }
    if (this.reader.accept("&")) {
      const target = this.unary();
      return target.place ? target : this.reader.fail("& of a value");
    }
    let value = this.primary();
    for (;;) {
      if (this.reader.accept(".")) value = this.member(value, this.reader.name());
      else if (this.reader.accept("[")) {
        value = this.element(value, this.expression());
        this.reader.expect("]");
      } else return value;
    }
  }

  private primary(): Value {
    const token = this.reader.token;
    if (token.kind === "number") return number(this.reader.next().text);
    if (this.reader.accept("(")) {
      const inner = this.expression();
      this.reader.expect(")");
      return inner;
    }
    const name = token.text;
    if (name === "true" || name === "false") {
      this.reader.next();
      return { code: name, type: scalar("bool") };
    }
    if (this.startsType(name)) return this.construction();
    this.reader.name();
    if (name === "bitcast") {
      const [type] = this.template(() => this.type());
      return bitcast(this.helpers, type, this.args()[0]);
    }
    if (name.startsWith("subgroupMatrix")) return this.matrices(name, token.line);
    if (this.reader.is("(")) return this.calls(name, token.line);
    const meaning = this.meaning(name);
    return meaning?.kind === "value" ? meaning.value : this.reader.fail(`no variable ${name}`);
  }

  private args(): Value[] {
    this.reader.expect("(");
    return this.reader.list(")", () => this.expression());
  }

  private construction(): Value {
    const infers = this.reader.is("array") && this.reader.tokens[this.reader.at + 1].text === "(";
    if (infers) {
      this.reader.next();
      const items = unified(this.args()).map(materialized);
      return {
        code: `[${items.map(owned).join(", ")}]`,
        type: { kind: "array", of: items[0].type, size: items.length },
      };
    }
    const type = this.type();
    const args = this.args();
    if (args.length > 0 && (type.kind === "array" || type.kind === "struct")) {
      const types = type.kind === "struct" ? [...type.members.values()] : args.map(() => type.of);
      if (types.length !== args.length) this.reader.fail(`${show(type)} of ${args.length} values`);
      return { code: `[${args.map((arg, k) => owned(as(arg, types[k]))).join(", ")}]`, type };
    }
    return constructed(this.helpers, type, args, zero(type));
  }

  private calls(name: string, line: number): Value {
    const args = this.args();
    const own = this.call(name, args) ?? builtin(this.helpers, name, args);
    if (own) return own;
    if (name === "workgroupBarrier" || name === "storageBarrier") {
      return { code: `(yield ${this.site({ name, line })})`, type: VOID };
    }
    if (SHARING.includes(name)) return this.exchange(name, line, args);
    if (name.startsWith("atomic")) return this.atomic(name, line, args);
    if (name === "arrayLength" && args[0].place?.kind === "memory") {
      return { code: `${args[0].place.memory}.length`, type: scalar("u32") };
    }
    return this.reader.fail(`no function ${name}`);
  }

  private exchange(name: string, line: number, args: readonly Value[]): Value {
    const [value, lane] = [...args.map(materialized)];
    const one = name === "subgroupElect" ? { code: "true", type: scalar("bool") } : value;
    const plain = { ...one, place: undefined };
    const merge = name in COMBINING
      ? binary(this.helpers, COMBINING[name], { ...plain, code: "x" }, { ...plain, code: "y" })
      : /M(in|ax)$/.test(name)
      ? builtin(this.helpers, name.slice(8).toLowerCase(), [{ ...plain, code: "x" }, { ...plain, code: "y" }])
      : null;
    const first = name === "subgroupExclusiveAdd" ? `, ${zero(one.type)}` : lane ? `, ${lane.code}` : "";
    const site = this.site({ name, line, ...(merge && { combine: `(x, y) => ${merge.code}` }) });
    return { code: `(yield R.send(${site}, ${owned(one)}${first}))`, type: one.type };
  }

  private atomic(name: string, line: number, args: readonly Value[]): Value {
    const { place, type } = args[0];
    if (place?.kind !== "element" || type.kind !== "atomic") return this.reader.fail(`${name} of no atomic`);
    const { memory, index } = place.element;
    const [, operand] = args.map((arg, k) => (k === 0 ? arg : as(arg, scalar(type.of))));
    const given = operand ? `, ${operand.code}` : "";
    return { code: `${memory}.${name}(${index}, ${line}${given})`, type: scalar(type.of) };
  }

  /** `subgroupMatrixLoad<type, order>(&memory, offset, stride)` and others, which all lanes compute together. */
  private matrices(name: string, line: number): Value {
    let type = VOID;
    let order = "";
    if (this.reader.accept("<")) {
      if (name === "subgroupMatrixLoad") {
        type = this.type();
        this.reader.expect(",");
      }
      order = this.reader.name();
      this.reader.closeTemplate();
    }
    const args = this.args();
    const byColumns = order === "col_major";
    const numbers = (list: readonly Value[]): string => list.map((v) => as(v, scalar("u32")).code).join(", ");
    if (name === "subgroupMatrixMultiplyAccumulate") {
      const [a, b, c] = args.map((v) => (v.type.kind === "matrix" ? v.type : this.reader.fail("expected a matrix")));
      if (a.columns !== b.rows || a.rows !== c.rows || b.columns !== c.columns) this.reader.fail("sizes of matrices");
      const site = this.site({ name, line, shape: [c.rows, c.columns, a.columns] });
      return { code: `(yield R.send(${site}, [${args.map((v) => v.code).join(", ")}]))`, type: c };
    }
    const [memory, offset, ...rest] = args;
    const matrix = name === "subgroupMatrixStore" ? rest[0].type : type;
    if (matrix.kind !== "matrix" || memory.place?.kind !== "memory" || order === "") this.reader.fail(`in ${name}`);
    const site = this.site({ name, line, byColumns, shape: [matrix.rows, matrix.columns] });
    const own = name === "subgroupMatrixStore"
      ? `${numbers([offset])}, ${numbers([rest[1]])}, ${rest[0].code}`
      : numbers([offset, rest[0]]);
    return { code: `(yield R.send(${site}, [${memory.place.memory}, ${own}]))`, type };
  }

  private member(value: Value, name: string): Value {
    const { type } = value;
    if (type.kind === "struct") {
      const k = [...type.members.keys()].indexOf(name);
      if (k < 0) this.reader.fail(`no member ${name} of ${type.name}`);
      return this.part(value, `${k}`, type.members.get(name)!);
    }
    if (type.kind !== "vector") return this.reader.fail(`.${name} of ${show(type)}`);
    const letters = [...name].map((c) => Math.max("xyzw".indexOf(c), "rgba".indexOf(c)));
    if (letters.some((k) => k < 0 || k >= type.size)) this.reader.fail(`.${name} of ${show(type)}`);
    if (letters.length === 1) return this.part(value, `${letters[0]}`, scalar(type.of));
    return { code: `R.swizzle(${value.code}, ${letters.join(", ")})`, type: vector(type.of, letters.length) };
  }

  private element(value: Value, at: Value): Value {
    const { type, place } = value;
    const index = materialized(at).code;
    const { line } = this.reader;
    if (place?.kind === "memory" && type.kind === "array") {
      const element = { memory: place.memory, index };
      const code = `${element.memory}.load(${index}, ${line})`;
      return { code, type: type.of, place: { kind: "element", element } };
    }
    if (type.kind === "vector") return this.part(value, this.inside(index, type.size, line), scalar(type.of));
    if (type.kind !== "array") return this.reader.fail(`[] of ${show(type)}`);
    return this.part(value, this.inside(index, type.size!, line), type.of);
  }

  private inside(index: string, size: number, line: number): string {
    return /^\d+$/.test(index) && Number(index) < size ? index : `R.inside(${index}, ${size}, ${line})`;
  }

  /** A component, an element or a member of a value, which can be assigned to if the value is a variable. */
  private part(value: Value, index: string, type: Type): Value {
    const whole = value.place?.kind === "variable" || value.place?.kind === "part";
    const place: Place | undefined = whole ? { kind: "part", base: value.code, index } : undefined;
    return { code: `${value.code}[${index}]`, type, ...(place && { place }) };
  }
}

/** JavaScript of a value of its own: variables that hold arrays may change later. */
export function owned(value: Value): string {
  const shares = value.place?.kind === "variable" || value.place?.kind === "part";
  return shares && value.type.kind !== "scalar" && value.type.kind !== "matrix" ? `R.copy(${value.code})` : value.code;
}

function number(text: string): Value {
  const hex = /^0x/i.test(text);
  const suffix = /[iu]$/.exec(text)?.[0] ?? (hex ? undefined : /[fh]$/.exec(text)?.[0]);
  const value = Number(suffix ? text.slice(0, -1) : text);
  if (suffix) {
    const of = SUFFIXES[suffix as keyof typeof SUFFIXES];
    return { code: `${of === "f32" ? Math.fround(value) : value}`, type: scalar(of) };
  }
  return constant(value, hex || /^\d+$/.test(text) ? "int" : "float");
}
