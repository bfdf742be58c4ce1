/**
 * Every kernel with its invocations in random order between barriers: none accesses what another writes meanwhile, all
 * reach the barriers, and the values are right at every width of subgroups.
 */
import { register } from "node:module";
import { test } from "uvu";
import * as assert from "uvu/assert";

// Before the modules that it marks.
register("../../helpers/races/marks.mjs", import.meta.url);
const { allMarks, marksIn, sourcesIn } = await import("../../helpers/races/marks.mjs");
const { productCases } = await import("../../helpers/races/cases/products.ts");
const { otherCases, rowCases } = await import("../../helpers/races/cases/rows.ts");
const { runCase } = await import("../../helpers/races/programs.ts");

const products = productCases();
const ran = new Set<string>();

for (const [symbol, cases] of Object.entries({ ...products, ...rowCases(), ...otherCases() })) {
  test(`${symbol} gives kernels without races, and right values in any order`, () => {
    for (const [k, one] of cases.entries()) {
      for (const width of one.widths ?? [32]) {
        try {
          const results = runCase(one, { width, seed: 100 * k + width }, (source) => {
            for (const mark of marksIn(source)) ran.add(mark);
            return source;
          });
          one.check?.(results);
        } catch (error) {
          throw new Error(`${one.name}, ${width} lanes: ${(error as Error).message}`, { cause: error });
        }
      }
    }
  });
}

/** Arrays of variants that a module of kernels exports. */
const isVariant = (x: unknown): x is { name: string } => typeof x === "object" && x !== null && "guard" in x;

test("runKernel() ran every variant of every kernel", async () => {
  const known = new Set(Object.values(products).flat().map(({ variant }) => variant));
  const missing: string[] = [];
  let count = 0;
  for (const path of sourcesIn("shaders")) {
    const exported = await import(new URL(`../../../${path}`, import.meta.url).href);
    for (const variant of Object.values(exported).flat().filter(isVariant)) {
      count++;
      if (!known.has(variant)) missing.push(`${path}: ${variant.name}`);
    }
  }
  assert.equal(missing, [], "variants without a case");
  assert.ok(count > 20);
});

test("runKernel() ran every template of a kernel, with all its memory, barriers and functions of subgroups", () => {
  const all = allMarks();
  assert.ok(all.size > 80);
  const missing = [...all].filter(([mark]) => !ran.has(mark)).map(([mark, what]) => `${mark}: ${what}`);
  assert.equal(missing, [], "what no case contains");
});

test.run();
