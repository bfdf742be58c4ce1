/** The quotient that convolutions for GPUs estimate in f32 and correct, in the arithmetic of f32 and u32. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { QUOTIENTS } from "../../shaders/conv/quotients.ts";

/** As the WGSL, whose sums and products of u32 wrap around. */
function quotient(n: number, by: number): number {
  const q = Math.trunc(Math.fround(Math.fround(n) * Math.fround(1 / by)));
  const rest = (n - Math.imul(q, by)) | 0;
  return rest < 0 ? q - 1 : rest >= by ? q + 1 : q;
}

test("QUOTIENTS are exact below 2^31, as long as the quotient is below 2^23", () => {
  assert.match(QUOTIENTS, "fn quotient(n: u32");
  assert.match(QUOTIENTS, "fn quotients(n: vec4u");
  const divisors = [1, 2, 3, 5, 7, 11, 31, 33, 64, 96, 100, 127, 160, 192, 255, 1000, 4097, 65_537, 2_097_143];
  let compared = 0;
  for (const d of divisors) {
    const most = Math.min(Math.floor((2 ** 31 - 1) / d), 2 ** 23 - 1);
    for (let q = 0; q <= most; q += q < 5000 || q > most - 5000 ? 1 : 997) {
      for (const n of [q * d, q * d + d - 1].filter((n) => n < 2 ** 31)) {
        if (quotient(n, d) !== q) assert.unreachable(`${n} / ${d}: ${quotient(n, d)}, wanted ${q}`);
        compared++;
      }
    }
  }
  assert.ok(compared > 300_000, `${compared}`);
});

test.run();
