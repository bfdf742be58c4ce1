/** Division of positions by sizes that a kernel reads. */

/**
 * Quotients by a number that is no constant: the estimate in f32 is off by one at most, while it is below 2^23. A
 * division of integers takes a GPU several times as long.
 */
export const QUOTIENTS = ["quotient u32 f32 i32", "quotients vec4u vec4f vec4i"].map((line) => {
  const [name, unsigned, float, signed] = line.split(" ");
  return `fn ${name}(n: ${unsigned}, by: u32, inverse: f32) -> ${unsigned} {
  let q = ${unsigned}(${float}(n) * inverse);
  let rest = ${signed}(n - q * by);
  return select(select(q, q + 1u, rest >= ${signed}(i32(by))), q - 1u, rest < ${signed}());
}`;
}).join("\n");
