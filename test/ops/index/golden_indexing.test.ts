// deno-lint-ignore-file no-explicit-any
/** Indexing, sorting, counting and shape operators against PyTorch and NumPy: values, gradients, jvp, hvp. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { type DType, Tensor, tensor } from "../../../engine/mod.ts";
import { relativeError } from "../../helpers/compare.ts";
import { goldenJson } from "../../helpers/golden.ts";
import { onlyOperator } from "../operators.ts";

interface Stored {
  readonly shape: number[];
  readonly dtype: DType;
  readonly data: readonly (number | string)[];
}

interface Case {
  readonly op: string;
  readonly about: string;
  readonly before?: unknown[];
  readonly rest?: unknown[];
  readonly options?: Record<string, unknown>;
  readonly named?: string[];
  readonly list?: boolean;
  readonly inputs: Stored[];
  readonly outputs: Stored[];
  /** Positions of the inputs that are differentiated, and of the outputs that are floats. */
  readonly smooth?: number[];
  readonly outputsSmooth?: number[];
  readonly cotangents?: Stored[];
  readonly tangents?: Stored[];
  readonly grads?: Stored[];
  readonly jvp?: Stored[];
  readonly hvp?: Stored[];
}

const numbers = ({ data }: Stored): Float64Array =>
  Float64Array.from(data, (v) => (v === "nan" ? NaN : v === "inf" ? Infinity : v === "-inf" ? -Infinity : Number(v)));
const toTensor = (stored: Stored): Tensor =>
  tensor(Array.from(numbers(stored)), { shape: stored.shape, dtype: stored.dtype });

/** Infinities and NaN agree exactly, other floats to rounding, integers in every bit. */
async function agree(got: Tensor, wanted: Stored, tolerance: number, what: string): Promise<void> {
  assert.equal([...got.shape, got.dtype], [...wanted.shape, wanted.dtype], what);
  const [a, b] = [Array.from(await got.data()), Array.from(numbers(wanted))];
  const strange = (v: number): boolean => !Number.isFinite(v);
  if (wanted.dtype !== "f32" || b.some(strange)) {
    assert.equal(a.map((v) => (v === 0 ? 0 : v)), b.map((v) => (v === 0 ? 0 : v)), what);
  } else if (b.length > 0) {
    assert.ok(relativeError(a, b) <= tolerance, `${what}: ${a} for ${b}`);
  }
}

function call(c: Case, inputs: readonly Tensor[]): Tensor[] {
  const count = inputs.length - (c.named?.length ?? 0);
  const named = Object.fromEntries((c.named ?? []).map((name, k) => [name, inputs[count + k]]));
  const options = c.options || c.named ? [{ ...c.options, ...named }] : [];
  const positional = inputs.slice(0, count);
  const args = [...(c.before ?? []), ...(c.list ? [positional] : positional), ...(c.rest ?? []), ...options];
  return [(vg as any)[c.op](...args)].flat();
}

const cases = (goldenJson("indexing").cases as Case[]).filter((c) => !onlyOperator || c.op === onlyOperator);
for (const c of cases) {
  const name = `${JSON.stringify(c.options ?? {})} ${c.about}`;
  test(`${c.op}() agrees with PyTorch and NumPy: ${name}`, async () => {
    const got = await vg.evaluate(call(c, c.inputs.map(toTensor)));
    assert.is(got.length, c.outputs.length);
    for (const [k, wanted] of c.outputs.entries()) await agree(got[k], wanted, 1e-6, `output ${k}`);
  });
  if (!c.smooth) continue;
  const { smooth, outputsSmooth } = c as Required<Case>;

  test(`vjp(), jvp() and hvp() of ${c.op} agree with PyTorch: ${name}`, async () => {
    const inputs = c.inputs.map(toTensor);
    const f = (...xs: Tensor[]): Tensor[] => {
      const all = [...inputs];
      smooth.forEach((k, j) => (all[k] = xs[j]));
      const outputs = call(c, all);
      return outputsSmooth.map((k) => outputs[k]);
    };
    const points = smooth.map((k) => inputs[k]);
    const [us, vs] = [c.cotangents!.map(toTensor), c.tangents!.map(toTensor)];
    const loss = (...xs: Tensor[]): Tensor =>
      f(...xs).map((y, k) => y.mul(us[k]).sum().add(y.square().sum().mul(0.5))).reduce((a, b) => a.add(b));
    const got = await vg.evaluate({
      grads: vg.vjp(f, points)[1](us),
      jvp: vg.jvp(f, points, vs)[1],
      hvp: vg.hvp(loss, points, vs),
    });
    for (const what of ["grads", "jvp", "hvp"] as const) {
      for (const [k, wanted] of c[what]!.entries()) await agree(got[what][k], wanted, 1e-6, `${what} ${k}`);
    }
  });
}

test.after(vg.closeDevice);
test.run();
