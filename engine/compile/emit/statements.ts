/** Statements of fused kernels, and traversals of them. */
import { type Expr, print, rename, some, walk } from "../../core/expr.ts";

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

/**
 * Lists of statements that run one after the other, and values, without names that nothing uses, and with names in
 * their order: what is computed alike is then printed alike.
 */
export function tidied<L extends readonly (readonly Statement[])[], V extends readonly Expr[]>(
  lists: L,
  values: V,
): { readonly lists: { [K in keyof L]: Statement[] }; readonly values: { [K in keyof V]: Expr } } {
  const used = new Set<string>();
  const use = (e: Expr): void => walk(e, (x) => void (x.kind === "variable" && used.add(x.name)));
  // A load stays: a pipeline's layout has the bindings that its shader names.
  const loads = (e: Expr): boolean => some(e, (x) => x.kind === "load" || x.kind === "call" && !x.library);
  const kept = (list: readonly Statement[]): Statement[] => {
    const rest: Statement[] = [];
    for (const s of [...list].reverse()) {
      if (s.kind === "let") {
        if (!used.has(s.name) && !loads(s.value)) continue;
        use(s.value);
        rest.push(s);
      } else if (s.kind === "store") {
        [s.index, s.value].forEach(use);
        rest.push(s);
      } else {
        const block = ({ statements, value }: Block): Block => {
          use(value);
          return { statements: kept(statements), value };
        };
        const blocks = [block(s.blocks[0]), block(s.blocks[1])] as const;
        use(s.condition);
        rest.push({ ...s, blocks });
      }
    }
    return rest.reverse();
  };
  values.forEach(use);
  const shorter = [...lists].reverse().map(kept).reverse();
  const names = new Map<string, string>();
  const name = (old: string): string => names.get(old) ?? old;
  const numbered = (list: readonly Statement[]): Statement[] =>
    list.map((s): Statement => {
      if (s.kind === "store") return { ...s, index: rename(s.index, name), value: rename(s.value, name) };
      if (s.kind === "let") {
        const value = rename(s.value, name);
        names.set(s.name, `v${names.size}`);
        return { ...s, name: name(s.name), value };
      }
      const condition = rename(s.condition, name);
      names.set(s.name, `v${names.size}`);
      const block = ({ statements, value }: Block): Block => {
        const own = numbered(statements);
        return { statements: own, value: rename(value, name) };
      };
      return { ...s, name: name(s.name), condition, blocks: [block(s.blocks[0]), block(s.blocks[1])] };
    });
  const renumbered = shorter.map(numbered);
  return {
    lists: renumbered as { [K in keyof L]: Statement[] },
    values: values.map((value) => rename(value, name)) as { [K in keyof V]: Expr },
  };
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
