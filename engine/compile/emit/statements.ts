/** Statements of fused kernels, and traversals of them. */
import { type Expr, print, rename, walk } from "../../core/expr.ts";

export type Statement =
  | { readonly kind: "let"; readonly name: string; readonly value: Expr }
  /** Declares a variable and assigns it in one of two blocks. */
  | {
    readonly kind: "branch";
    readonly name: string;
    readonly type: string;
    readonly condition: Expr;
    readonly blocks: readonly [Block, Block];
  }
  | { readonly kind: "store"; readonly buffer: string; readonly index: Expr; readonly value: Expr };

/** Statements and their result value. */
export interface Block {
  readonly statements: readonly Statement[];
  readonly value: Expr;
}

/** Calls `visit` with every expression of the statements, including inner blocks. */
export function walkStatements(statements: readonly Statement[], visit: (e: Expr) => void): void {
  for (const s of statements) {
    if (s.kind === "let") walk(s.value, visit);
    else if (s.kind === "store") [s.index, s.value].forEach((e) => walk(e, visit));
    else {
      walk(s.condition, visit);
      for (const block of s.blocks) {
        walkStatements(block.statements, visit);
        walk(block.value, visit);
      }
    }
  }
}

/** The names of the library functions that statements and values call. */
export function functionsOf(statements: readonly Statement[], values: readonly Expr[]): Set<string> {
  const names = new Set<string>();
  const visit = (e: Expr): void => {
    if (e.kind === "call" && e.library) names.add(e.name);
  };
  walkStatements(statements, visit);
  values.forEach((value) => walk(value, visit));
  return names;
}

/** A branch-free statement with its variables renamed. */
export function renamed(s: Statement, nameOf: (name: string) => string): Statement {
  if (s.kind === "let") return { kind: "let", name: nameOf(s.name), value: rename(s.value, nameOf) };
  if (s.kind === "store") return { ...s, index: rename(s.index, nameOf), value: rename(s.value, nameOf) };
  throw new Error("a branch cannot be renamed");
}

function printStatement(s: Statement): string {
  if (s.kind === "let") return `let ${s.name} = ${print(s.value)};`;
  if (s.kind === "store") return `${s.buffer}[${print(s.index)}] = ${print(s.value)};`;
  const [yes, no] = s.blocks.map(({ statements, value }) =>
    [...statements.map(printStatement), `${s.name} = ${print(value)};`].map((line) => `  ${line}`).join("\n")
  );
  return `var ${s.name}: ${s.type};\nif (${print(s.condition)}) {\n${yes}\n} else {\n${no}\n}`;
}

/** Prints statements as WGSL. */
export const printStatements = (statements: readonly Statement[]): string => statements.map(printStatement).join("\n");
