/** Faults planted in every kernel with workgroup memory: the machine finds each. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { productCases } from "../../helpers/races/cases/products.ts";
import { rowCases } from "../../helpers/races/cases/rows.ts";
import { type Fault, withMovedWrites, withoutBarriers, withSkippedBarriers } from "../../helpers/races/faults.ts";
import { Finding, type Kind } from "../../helpers/races/memory.ts";
import { type Case, runCase } from "../../helpers/races/programs.ts";

interface Planted {
  readonly one: Case;
  readonly source: string;
  /** Its results without a fault. */
  right?: readonly Uint8Array[];
}

/** Kernels by name, each as often as its code differs in more than sizes. */
const kernels = new Map<string, Planted[]>();
const known = new Set<string>();
for (const one of Object.values({ ...productCases(), ...rowCases() }).flat()) {
  for (const { kernel } of one.lowered.dispatches) {
    const source = kernel.source();
    const form = source.replace(/\d+/g, "0");
    if (!source.includes("var<workgroup>") || known.has(form)) continue;
    known.add(form);
    kernels.set(kernel.name, [...(kernels.get(kernel.name) ?? []), { one, source }]);
  }
}

/** What a case comes to with a fault in one kernel: a kind of finding, wrong values, or nothing. */
function outcome(planted: Planted, fault: Fault, ignores: readonly Kind[]): Kind | "values" | "nothing" {
  const { one, source } = planted;
  const [width] = one.widths ?? [32];
  try {
    const got = runCase(one, { width, ignores }, (text) => (text === source ? fault.source : text));
    planted.right ??= runCase(one, { width });
    return planted.right.every((bytes, k) => Buffer.compare(bytes, got[k]) === 0) ? "nothing" : "values";
  } catch (error) {
    if (error instanceof Finding) return error.kind;
    throw error;
  }
}

for (const [name, forms] of kernels) {
  const found = (faults: (source: string) => Fault[], ignores: readonly Kind[], wanted: RegExp): void => {
    const missed = forms.flatMap((planted) =>
      faults(planted.source).flatMap((fault) => {
        const got = outcome(planted, fault, ignores);
        return wanted.test(got) ? [] : [`${planted.one.name}: ${fault.name} comes to ${got}`];
      })
    );
    assert.equal(missed, []);
    assert.ok(forms.some(({ source }) => faults(source).length > 0));
  };

  test(`runKernel() finds a race for every barrier removed from ${name}`, () => {
    found(withoutBarriers, ["unwritten"], /^race$/);
  });

  test(`runKernel() finds every barrier that one invocation of ${name} skips`, () => {
    found(withSkippedBarriers, ["unwritten", "race"], /^barrier$/);
  });

  test(`runKernel() finds every write of ${name} to the next index`, () => {
    found(withMovedWrites, [], /^(race|bounds|unwritten|values)$/);
  });
}

test("runKernel() was given every kind of kernel with workgroup memory", () => {
  assert.ok(kernels.size >= 15, `${[...kernels.keys()]}`);
});

test.run();
