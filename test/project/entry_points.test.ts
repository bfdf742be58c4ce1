/** The entry points: imported by name, as a user does, they are the modules of the sources; and all is explained. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = new URL("../../", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(name, root), "utf8"));
const [npm, deno, base] = ["package.json", "deno.json", "tsconfig.base.json"].map(read);
const entries = Object.entries<string>(deno.exports);
/** Offers no names: it is the module that a worker is started with, and refuses to be loaded elsewhere. */
const started = "./worker_main";

for (const [entry, path] of entries) {
  const name = entry.replace(".", "voxgrad");
  test(`import "${name}" gives ${path}, in Node, in Deno and for the type checker`, async () => {
    if (entry !== started) assert.is(await import(name), await import(new URL(path, root).href));
    assert.is(deno.imports[name], path);
    assert.equal(base.compilerOptions.paths[name], [path]);
  });

  test(`package.json publishes "${name}" for every host`, () => {
    const built = path.replace("./", "./dist/").replace(".ts", "");
    assert.equal(Object.keys(npm.exports[entry]), ["types", "browser", "deno", "node", "default"]);
    assert.equal([...new Set(Object.values(npm.exports[entry]))], [`${built}.d.ts`, `${built}.js`]);
  });
}

test("package.json and deno.json name the same entry points and version", () => {
  const names = Object.keys(npm.exports).filter((name) => !["./browser", "./package.json"].includes(name));
  assert.equal(names, entries.map(([entry]) => entry));
  assert.is(deno.version, npm.version);
});

test("package.json has the hosts of dist/ where the sources have theirs", () => {
  const built = (path: string): string => path.replace("./", "./dist/").replace(/(?<!\.d)\.ts$/, ".js");
  const wanted = Object.entries<string>(npm.imports["#platform"]).map(([condition, path]) => [condition, built(path)]);
  assert.equal(npm.imports["#host"], Object.fromEntries(wanted));
});

/** What deno doc says of a name: of a function, a class and so on; of a namespace, the names in it. */
interface Documented {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly jsDoc?: { readonly tags?: readonly { readonly kind: string; readonly doc?: string }[] };
    readonly def: { readonly elements?: readonly Documented[] };
  }[];
}

/** The functions among the values of a module that have no example in TypeScript. */
function withoutExample(names: readonly Documented[], values: Record<string, unknown>, place: string): string[] {
  return names.flatMap(({ name, declarations }) => {
    const value = values[name];
    const inside = declarations.flatMap(({ def }) =>
      def.elements ? withoutExample(def.elements, value as Record<string, unknown>, `${place}${name}.`) : []
    );
    // What another entry point offers first is a reference here; a class has its examples at its methods, or none.
    const own = declarations.filter(({ kind }) => kind === "function" || kind === "variable");
    const tags = own.flatMap(({ jsDoc }) => jsDoc?.tags ?? []);
    const explained = tags.some(({ kind, doc }) => kind === "example" && doc?.includes("```ts\n"));
    return typeof value === "function" && own.length > 0 && !explained ? [...inside, `${place}${name}`] : inside;
  });
}

test("every function of the entry points has an example", async () => {
  const files = entries.filter(([entry]) => entry !== started).map(([, path]) => path);
  const args = ["node_modules/deno/bin.cjs", "doc", "--json", ...files];
  const options = { cwd: fileURLToPath(root), encoding: "utf8", maxBuffer: 2 ** 28 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, args, options);
  assert.is(status, 0, stderr);
  const { nodes } = JSON.parse(stdout) as { nodes: Record<string, { symbols: Documented[] }> };
  const lacking: string[] = [];
  for (const path of files) {
    const { href } = new URL(path, root);
    lacking.push(...withoutExample(nodes[href].symbols, await import(href), `${path} `));
  }
  assert.equal(lacking, []);
});

test.run();
