/**
 * Elementary functions in WGSL, accurate to 1e-6 on every adapter. WGSL allows inaccurate builtins (a sine that is off
 * by 2e-4, a logarithm by 1e-5 near 1), so these do their own range reduction and polynomial evaluation.
 *
 * How they stay correct under any compiler:
 * - WGSL may assume that NaN and infinity never occur: special values are detected and created by their bits.
 * - Range reduction (Cody and Waite 1980) subtracts n times a constant in parts; the leading parts have so few bits
 *   that the products are exact. Mesa's compiler adds such parts up again, fma or not: `vg_exact` stops it.
 * - Rounding to an integer adds 1.5 * 2^23 and reads the low bits of the sum, which compilers cannot simplify away.
 * - No branches, and few selects: on a CPU implementation every lane runs both sides. Conditions are joined by `&` and
 *   `|`: `&&` becomes a branch, and many branches stall SwiftShader's compiler.
 *
 * Subnormal numbers may be flushed to zero. Polynomials and the rational function are minimax fits made for this file
 * (iteratively reweighted least squares on Chebyshev points, in float64).
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";

/** A WGSL function (or a helper structure) and the names of the functions it calls. */
export interface MathFunction {
  readonly source: string;
  readonly needs?: readonly string[];
}

/** All functions by name. Names ending in `_core`, `_poly` or `_bits` are helpers of others. */
export const mathFunctions: Record<string, MathFunction> = {
  vg_is_nan: {
    source: wgsl`
fn vg_is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}`,
  },

  // A float from its bits. Not a constant expression, because WGSL rejects constants that are not finite.
  vg_float: {
    source: wgsl`
fn vg_float(bits: u32) -> f32 {
  return bitcast<f32>(bits);
}`,
  },

  // a / b. Mesa drops the whole kernel if it can prove that a divisor is 0.
  vg_div: {
    source: wgsl`
fn vg_div(a: f32, b: f32) -> f32 {
  let m = bitcast<u32>(a) & 0x7fffffffu;
  let sign = (bitcast<u32>(a) ^ bitcast<u32>(b)) & 0x80000000u;
  let bits = select(sign | 0x7f800000u, 0x7fc00000u, (m == 0u) | (m > 0x7f800000u));
  return select(a / b, bitcast<f32>(bits), (bitcast<u32>(b) & 0x7fffffffu) == 0u);
}`,
  },

  // 0 x, which compilers fold to 0 even if x is infinite or NaN.
  vg_times_zero: {
    source: wgsl`
fn vg_times_zero(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>(select(bits & 0x80000000u, 0x7fc00000u, (bits & 0x7f800000u) == 0x7f800000u));
}`,
  },

  // The nearest half-precision number, ties to even. f32(f16(x)) would do, but Mesa simplifies it to x.
  vg_half: {
    source: wgsl`
fn vg_half(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let m = bits & 0x7fffffffu;
  let normal = (m + 0xfffu + ((m >> 13u) & 1u)) & 0xffffe000u;
  // Below 2^-14 the spacing is 2^-24, as that of numbers from 0.5 on.
  let units = bitcast<u32>(bitcast<f32>(m) + 0.5) - 0x3f000000u;
  let small = bitcast<u32>(f32(units) * 5.9604644775390625e-8);
  let large = select(0x7f800000u, m, m > 0x7f800000u);
  let finite = select(normal, small, m < 0x38800000u);
  return bitcast<f32>((bits & 0x80000000u) | select(finite, large, m >= 0x477ff000u));
}`,
  },

  vg_is_finite: {
    source: wgsl`
fn vg_is_finite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}`,
  },

  // y, or x if x is NaN: clamps lose NaN.
  vg_keep_nan: {
    source: wgsl`
fn vg_keep_nan(y: f32, x: f32) -> f32 {
  return select(y, x, vg_is_nan(x));
}`,
    needs: ["vg_is_nan"],
  },

  // |x| with the sign of s. Not by the bits of both: LLVM 15 (llvmpipe) then loses the exponent of x on AVX-512 where s
  // is computed in the same kernel.
  vg_with_sign: {
    source: wgsl`
fn vg_with_sign(x: f32, s: f32) -> f32 {
  let size = abs(x);
  return select(size, -size, bitcast<i32>(s) < 0);
}`,
  },

  // x, for an x whose last bit is 0. Compilers cannot prove that, so they cannot reassociate across the call.
  vg_exact: {
    source: wgsl`
fn vg_exact(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) & 0xfffffffeu);
}`,
  },

  // 2^n for n in [-126, 127].
  vg_exp2_bits: {
    source: wgsl`
fn vg_exp2_bits(n: i32) -> f32 {
  return bitcast<f32>((n + 127) << 23u);
}`,
  },

  // exp(r) - 1 for |r| <= 0.347, to a relative error of 1.8e-8.
  vg_exp_poly: {
    source: wgsl`
fn vg_exp_poly(r: f32) -> f32 {
  let q = 0.49999997 + r * (0.16666543 + r * (0.0416672 + r * (0.008366596 + r * 0.0013882507)));
  return r + r * r * q;
}`,
  },

  // exp(x) = 2^n (1 + m) with m between sqrt(1/2) - 1 and sqrt(2) - 1, for |x| < 1e4.
  vg_exp_core: {
    source: wgsl`
struct VgExp { n: i32, m: f32 }

fn vg_exp_core(x: f32) -> VgExp {
  let n = bitcast<i32>(x * 1.44269504 + 12582912.0) - 0x4b400000;
  let k = f32(n);
  return VgExp(n, vg_exp_poly((x - vg_exact(k * 0.693115234375)) - k * 3.19461833e-5));
}`,
    needs: ["vg_exact", "vg_exp_poly"],
  },

  // exp for x in [-104.5, 89]. Two factors, because 2^n alone exceeds the range of f32 at both ends.
  vg_exp_scaled: {
    source: wgsl`
fn vg_exp_scaled(x: f32) -> f32 {
  let e = vg_exp_core(x);
  let h = e.n >> 1u;
  return (1.0 + e.m) * vg_exp2_bits(h) * vg_exp2_bits(e.n - h);
}`,
    needs: ["vg_exp_core", "vg_exp2_bits"],
  },

  vg_exp: {
    source: wgsl`
fn vg_exp(x: f32) -> f32 {
  return vg_keep_nan(vg_exp_scaled(clamp(x, -104.5, 89.0)), x);
}`,
    needs: ["vg_exp_scaled", "vg_keep_nan"],
  },

  // exp(x) - 1 for x in [-87, 89]. Half the scale and twice the sum, because 2^128 is not an f32.
  vg_expm1_core: {
    source: wgsl`
fn vg_expm1_core(x: f32) -> f32 {
  let e = vg_exp_core(x);
  let s = vg_exp2_bits(e.n - 1);
  return 2.0 * fma(s, e.m, s - 0.5);
}`,
    needs: ["vg_exp_core", "vg_exp2_bits"],
  },

  vg_expm1: {
    source: wgsl`
fn vg_expm1(x: f32) -> f32 {
  return vg_keep_nan(vg_expm1_core(clamp(x, -20.0, 89.0)), x);
}`,
    needs: ["vg_expm1_core", "vg_keep_nan"],
  },

  // log(1 + f) for 1 + f between sqrt(1/2) and sqrt(2), to a relative error of 3.3e-8.
  vg_log1p_poly: {
    source: wgsl`
fn vg_log1p_poly(f: f32) -> f32 {
  let a = -0.4999999 + f * (0.3333395 + f * (-0.2500176 + f * 0.19962022));
  let b = -0.16570304 + f * (0.14918347 + f * (-0.14309315 + f * 0.08736045));
  let z = f * f;
  return f + z * (a + z * z * b);
}`,
  },

  // log(x) for a positive normal number x with bits u.
  vg_log_bits: {
    source: wgsl`
fn vg_log_bits(u: u32) -> f32 {
  let n = bitcast<i32>(u - 0x3f3504f3u) >> 23u;
  let f = bitcast<f32>(u - (bitcast<u32>(n) << 23u)) - 1.0;
  return fma(f32(n), 0.693147181, vg_log1p_poly(f));
}`,
    needs: ["vg_log1p_poly"],
  },

  // The logarithm of u outside the positive normal numbers: -inf at 0, inf at inf, else NaN.
  vg_log_special: {
    source: wgsl`
fn vg_log_special(y: f32, u: u32) -> f32 {
  let high = select(0x7fc00000u, 0x7f800000u, u == 0x7f800000u);
  let special = select(high, 0xff800000u, (u & 0x7fffffffu) < 0x00800000u);
  return bitcast<f32>(select(special, bitcast<u32>(y), u - 0x00800000u < 0x7f000000u));
}`,
  },

  vg_log: {
    source: wgsl`
fn vg_log(x: f32) -> f32 {
  let u = bitcast<u32>(x);
  return vg_log_special(vg_log_bits(u), u);
}`,
    needs: ["vg_log_bits", "vg_log_special"],
  },

  // If 1 + x needs no scaling, the polynomial uses x itself, so the rounding of the addition does not matter.
  vg_log1p: {
    source: wgsl`
fn vg_log1p(x: f32) -> f32 {
  let u = bitcast<u32>(1.0 + x);
  let n = bitcast<i32>(u - 0x3f3504f3u) >> 23u;
  let m = bitcast<f32>(u - (bitcast<u32>(n) << 23u)) - 1.0;
  let f = select(m, x, n == 0);
  return vg_log_special(fma(f32(n), 0.693147181, vg_log1p_poly(f)), u);
}`,
    needs: ["vg_log1p_poly", "vg_log_special"],
  },

  // sin(x + shift pi/2). pi/2 in three parts of 8, 10 and 24 bits: accurate to 1e-7 up to |x| = 1.2e4. Beyond, the
  // error grows to 1.3e-7 |x|, the spacing of f32 numbers there; from 6e6 on the value is meaningless but within [-1,
  // 1].
  vg_sin_core: {
    source: wgsl`
fn vg_sin_core(x: f32, shift: i32) -> f32 {
  let n = bitcast<i32>(x * 0.636619772 + 12582912.0) - 0x4b400000;
  let k = f32(n);
  let reduced = ((x - vg_exact(k * 1.5703125)) - vg_exact(k * 0.00048351287841796875)) - k * 3.1391647e-07;
  let r = clamp(reduced, -0.8, 0.8);
  let z = r * r;
  let s = r + r * z * (-0.16666654 + z * (0.0083321 - z * 0.00019506943));
  let c = 1.0 + z * (-0.5 + z * (0.041666646 + z * (-0.0013887234 + z * 2.4423625e-5)));
  let quadrant = bitcast<u32>(n + shift);
  let y = bitcast<u32>(select(s, c, (quadrant & 1u) == 1u)) ^ ((quadrant & 2u) << 30u);
  let finite = (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
  return bitcast<f32>(select(0x7fc00000u, y, finite));
}`,
    needs: ["vg_exact"],
  },

  vg_sin: {
    source: wgsl`
fn vg_sin(x: f32) -> f32 {
  return vg_sin_core(x, 0);
}`,
    needs: ["vg_sin_core"],
  },

  vg_cos: {
    source: wgsl`
fn vg_cos(x: f32) -> f32 {
  return vg_sin_core(x, 1);
}`,
    needs: ["vg_sin_core"],
  },

  // From exp(-2|x|) - 1, which keeps full relative accuracy near 0 and cannot overflow; x itself below 1e-4, for -0, and
  // for NaN. The sign is selected: joined to the bits, tanh(sigmoid(x)) in a kernel is 1e-39 on Mesa 25's lavapipe.
  vg_tanh: {
    source: wgsl`
fn vg_tanh(x: f32) -> f32 {
  let m = vg_expm1_core(-2.0 * min(abs(x), 10.0));
  return vg_keep_nan(vg_with_sign(m / (m + 2.0), x), x);
}`,
    needs: ["vg_expm1_core", "vg_keep_nan", "vg_with_sign"],
  },

  vg_sigmoid: {
    source: wgsl`
fn vg_sigmoid(x: f32) -> f32 {
  let e = vg_exp_scaled(max(-abs(x), -104.5));
  return vg_keep_nan(select(1.0, e, x < 0.0) / (1.0 + e), x);
}`,
    needs: ["vg_exp_scaled", "vg_keep_nan"],
  },

  // log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|); above sqrt(2), 1 + e is halved.
  vg_softplus: {
    source: wgsl`
fn vg_softplus(x: f32) -> f32 {
  let e = vg_exp_scaled(max(-abs(x), -104.5));
  let halve = e > 0.4142135;
  let y = select(0.0, 0.693147181, halve) + vg_log1p_poly(select(e, 0.5 * e - 0.5, halve));
  return vg_keep_nan(max(x, 0.0) + y, x);
}`,
    needs: ["vg_exp_scaled", "vg_log1p_poly", "vg_keep_nan"],
  },

  // x P(x^2) / Q(x^2); erf(3.92) rounds to 1.
  vg_erf: {
    source: wgsl`
fn vg_erf(x: f32) -> f32 {
  let c = clamp(x, -3.92, 3.92);
  let z = c * c;
  let p = 1.1283791 + z * (0.19078386 + z * (0.05279029 + z * (0.003779611
    + z * (0.00028480872 + z * 2.0419716e-6))));
  let q = 1.0 + z * (0.50241053 + z * (0.11425754 + z * (0.01499744
    + z * (0.0011652133 + z * 3.8004087e-5))));
  let y = clamp(c * p / q, -1.0, 1.0);
  return vg_keep_nan(select(y, select(-1.0, 1.0, x > 0.0), abs(x) >= 3.92), x);
}`,
    needs: ["vg_keep_nan"],
  },

  // The upper 11 bits of the significand: products of two such numbers are exact.
  vg_upper_bits: {
    source: wgsl`
fn vg_upper_bits(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) & 0xffffe000u);
}`,
  },

  // |x|^y as exp(y log|x|), with the logarithm and the product in double-float arithmetic (an error of 1e-9 in the
  // logarithm would be 1e-7 in the result), then the sign and the special cases of C and PyTorch: x^0 = 1^y = 1, a
  // negative base gives NaN unless y is an integer, odd integers keep the sign.
  vg_pow: {
    source: wgsl`
fn vg_pow(x: f32, y: f32) -> f32 {
  let u = bitcast<u32>(x) & 0x7fffffffu;
  let n = bitcast<i32>(u - 0x3f3504f3u) >> 23u;
  let m = bitcast<f32>(u - (bitcast<u32>(n) << 23u));

  // log(m) = 2 atanh(s), s = (m - 1) / (m + 1) = s1 + s2.
  let f = m - 1.0;
  let d = m + 1.0;
  let d1 = vg_upper_bits(d);
  let d2 = m - (d1 - 1.0);
  let s = f / d;
  let s1 = vg_upper_bits(s);
  let s2 = ((f - vg_exact(s1 * d1)) - s1 * d2) / d;
  let z = s * s;
  let tail = 2.0 * (s2 + s * z * (0.3333333 + z * (0.20000167 + z * (0.1426864 + z * 0.11791383))));

  // log|x| = l1 + l2, then y log|x| = e1 + e2. For |y| > 1e10 every base but 1 is out of range.
  let k = f32(n);
  let rest = k * 3.19461833e-5 + tail;
  let k1 = vg_exact(k * 0.693115234375);
  let l1 = vg_upper_bits(k1 + (2.0 * s1 + rest));
  let l2 = (k1 - l1) + 2.0 * s1 + rest;
  let w = clamp(y, -1e10, 1e10);
  let w1 = vg_upper_bits(w);
  let product = w1 * l1;
  let e1 = clamp(product, -120.0, 100.0);
  let e2 = select(0.0, (w - w1) * l1 + w * l2, e1 == product);
  let total = clamp(e1 + e2, -104.5, 89.0);
  let j = bitcast<i32>(total * 1.44269504 + 12582912.0) - 0x4b400000;
  let g = f32(j);
  let r = ((e1 - vg_exact(g * 0.693115234375)) - g * 3.19461833e-5) + e2;
  let h = j >> 1u;
  let inside = (1.0 + vg_exp_poly(r)) * vg_exp2_bits(h) * vg_exp2_bits(j - h);

  // Zero, infinity, overflow and underflow have magnitude 0 or inf.
  let grows = (u >= 0x3f800000u) == (y > 0.0);
  let edge = (u < 0x00800000u) | (u >= 0x7f800000u) | (e1 + e2 < -104.5) | (e1 + e2 > 89.0);
  var bits = select(bitcast<u32>(inside), select(0u, 0x7f800000u, grows), edge);

  let whole = y == floor(y);
  let halved = 0.5 * y;
  let odd = whole & (halved != floor(halved));
  let negative = bitcast<u32>(x) >= 0x80000000u;
  bits = bits | select(0u, 0x80000000u, negative & odd);
  let invalid = negative & (u >= 0x00800000u) & (u < 0x7f800000u) & !whole;
  bits = select(bits, 0x7fc00000u, invalid | (u > 0x7f800000u) | vg_is_nan(y));
  let one = (bitcast<u32>(x) == 0x3f800000u) | ((bitcast<u32>(y) & 0x7fffffffu) < 0x00800000u);
  return bitcast<f32>(select(bits, 0x3f800000u, one));
}`,
    needs: ["vg_exact", "vg_upper_bits", "vg_exp_poly", "vg_exp2_bits", "vg_is_nan"],
  },

  // WGSL guarantees 2 ULP for inverseSqrt, and for sqrt what follows from that.
  // Mesa takes the square of a root for |x|, so it has to be told of NaN.
  vg_sqrt: {
    source: wgsl`
fn vg_sqrt(x: f32) -> f32 {
  return select(sqrt(x), vg_float(0x7fc00000u), x < 0.0);
}`,
    needs: ["vg_float"],
  },

  vg_rsqrt: {
    source: wgsl`
fn vg_rsqrt(x: f32) -> f32 {
  return inverseSqrt(x);
}`,
  },
};

/**
 * WGSL of the named functions and all functions they call, each once, callees first.
 *
 * Example: `mathSource(["vg_exp", "vg_tanh"])` goes before the entry point of a kernel that calls both.
 *
 * @param functions the table of functions
 * @throws Error for an unknown name
 */
export function mathSource(
  names: Iterable<string>,
  functions: Readonly<Record<string, MathFunction>> = mathFunctions,
): string {
  const done = new Set<string>();
  const parts: string[] = [];
  const visit = (name: string): void => {
    if (done.has(name)) return;
    const entry = Object.hasOwn(functions, name) ? functions[name] : undefined;
    if (!entry) throw new Error(`mathSource: no function ${name}; there are ${Object.keys(functions).join(", ")}`);
    done.add(name);
    for (const needed of entry.needs ?? []) visit(needed);
    parts.push(entry.source.trim());
  };
  for (const name of names) visit(name);
  return parts.join("\n\n") + (parts.length > 0 ? "\n" : "");
}
