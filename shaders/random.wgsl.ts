/**
 * Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
 * easy as 1, 2, 3", 2011). A block depends only on its key and counter, so any lane can compute any number, in any
 * order.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import type { MathFunction } from "./math.wgsl.ts";

const rotations = [[13, 15, 26, 6], [17, 29, 16, 24]] as const;
const parity = 0x1bd11bda;

/** Four rounds, then the injection of a key word and the group number; five such groups make a block. */
function group(index: number): string {
  const rounds = rotations[index % 2].map((turn) =>
    `  x.x += x.y;
  x.y = ((x.y << ${turn}u) | (x.y >> ${32 - turn}u)) ^ x.x;`
  );
  const words = ["key.x", "key.y", "last"];
  return `${rounds.join("\n")}
  x += vec2u(${words[(index + 1) % 3]}, ${words[(index + 2) % 3]} + ${index + 1}u);`;
}

/** Random functions by name; they call functions of math.wgsl.ts. */
export const randomFunctions: Record<string, MathFunction> = {
  vg_threefry2x32: {
    source: wgsl`
fn vg_threefry2x32(key: vec2u, counter: vec2u) -> vec2u {
  let last = key.x ^ key.y ^ ${parity}u;
  var x = counter + key;
${[0, 1, 2, 3, 4].map(group).join("\n")}
  return x;
}`,
  },

  // Maps a word to [0, 1), in multiples of 2^-24.
  vg_uniform: {
    source: wgsl`
fn vg_uniform(word: u32) -> f32 {
  return f32(word >> 8u) * 5.9604644775390625e-8;
}`,
  },

  // Maps a word to a standard normal number by the inverse distribution function: the lower 31 bits are the
  // probability q of a larger magnitude, the highest the sign. The magnitude is (1 - q) R(-log(1 - (1 - q)^2)) with a
  // rational minimax fit R made for this file, with a relative error of 2e-6; the maximum is 6.34.
  vg_normal: {
    source: wgsl`
fn vg_normal(word: u32) -> f32 {
  let q = (f32(word & 0x7fffffffu) + 0.5) * 4.656612873077393e-10;
  let size = vg_normal_size(q);
  return select(size, -size, word >= 0x80000000u);
}`,
    needs: ["vg_normal_size"],
  },

  vg_normal_size: {
    source: wgsl`
fn vg_normal_size(q: f32) -> f32 {
  let w = -vg_log_bits(bitcast<u32>(q * (2.0 - q)));
  let p = 1.2533154 + w * (0.6063745 + w * (0.13963448 + w * (0.020791257 + w * (0.002064236 + w * 1.4490015e-5))));
  let d = 1.0 + w * (0.22204646 + w * (0.040138017 + w * (0.0059723784 + w * 0.00019382303)));
  return (1.0 - q) * p / d;
}`,
    needs: ["vg_log_bits"],
  },

  // Normal numbers between bounds, from the probabilities of being below, between and above them: of the two tails
  // beside the result, the smaller gives its magnitude.
  vg_normal_between: {
    source: wgsl`
fn vg_normal_between(word: u32, below: f32, within: f32, above: f32) -> f32 {
  let u = (f32(word >> 8u) + 0.5) * 5.9604644775390625e-8;
  let left = below + within * u;
  let right = above + within * (1.0 - u);
  let size = vg_normal_size(min(1.0, 2.0 * min(left, right)));
  return select(size, -size, left < right);
}`,
    needs: ["vg_normal_size"],
  },

  // The upper word of word * bound: a number below bound.
  vg_below: {
    source: wgsl`
fn vg_below(word: u32, bound: u32) -> u32 {
  let low = (word & 0xffffu) * (bound & 0xffffu);
  let a = (word >> 16u) * (bound & 0xffffu) + (low >> 16u);
  let b = (word & 0xffffu) * (bound >> 16u) + (a & 0xffffu);
  return (word >> 16u) * (bound >> 16u) + (a >> 16u) + (b >> 16u);
}`,
  },
};
