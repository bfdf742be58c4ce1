/**
 * Inverse trigonometric and hyperbolic functions in WGSL, with the means of math.wgsl.ts: accurate to 1e-6, no
 * branches, special values by their bits. Polynomials are minimax fits made for this file.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import type { MathFunction } from "./math.wgsl.ts";

/** By name; they call functions of math.wgsl.ts. */
export const trigonometricFunctions: Record<string, MathFunction> = {
  vg_exp2: {
    source: wgsl`
fn vg_exp2(x: f32) -> f32 {
  let c = clamp(x, -150.0, 128.0);
  let n = bitcast<i32>(c + 12582912.0) - 0x4b400000;
  let m = 1.0 + vg_exp_poly((c - f32(n)) * 0.693147181);
  let h = n >> 1u;
  return vg_keep_nan(m * vg_exp2_bits(h) * vg_exp2_bits(n - h), x);
}`,
    needs: ["vg_exp_poly", "vg_exp2_bits", "vg_keep_nan"],
  },

  vg_log2: {
    source: wgsl`
fn vg_log2(x: f32) -> f32 {
  let u = bitcast<u32>(x);
  let n = bitcast<i32>(u - 0x3f3504f3u) >> 23u;
  let f = bitcast<f32>(u - (bitcast<u32>(n) << 23u)) - 1.0;
  return vg_log_special(fma(vg_log1p_poly(f), 1.44269504, f32(n)), u);
}`,
    needs: ["vg_log1p_poly", "vg_log_special"],
  },

  vg_tan: {
    source: wgsl`
fn vg_tan(x: f32) -> f32 {
  return vg_sin_core(x, 0) / vg_sin_core(x, 1);
}`,
    needs: ["vg_sin_core"],
  },

  // atan(t) for t in [0, 1]; above tan(pi / 8) as pi / 4 + atan((t - 1) / (t + 1)).
  vg_atan_core: {
    source: wgsl`
fn vg_atan_core(t: f32) -> f32 {
  let high = t > 0.41421356;
  let r = select(t, (t - 1.0) / (t + 1.0), high);
  let z = r * r;
  let y = r + r * z * (-0.33332956 + z * (0.19977926 + z * (-0.13879849 + z * 0.08060308)));
  return select(y, y + 0.78539816, high);
}`,
  },

  vg_atan: {
    source: wgsl`
fn vg_atan(x: f32) -> f32 {
  let a = abs(x);
  let flip = a > 1.0;
  let y = vg_atan_core(select(a, 1.0 / max(a, 1.0), flip));
  return vg_keep_nan(vg_with_sign(select(y, 1.57079633 - y, flip), x), x);
}`,
    needs: ["vg_atan_core", "vg_with_sign", "vg_keep_nan"],
  },

  // The angle of (x, y), in [-pi, pi]. Infinite sides count as 1 beside finite ones.
  vg_atan2: {
    source: wgsl`
fn vg_atan2(y: f32, x: f32) -> f32 {
  let endless = !vg_is_finite(x) | !vg_is_finite(y);
  let a = select(abs(x), select(0.0, 1.0, !vg_is_finite(x)), endless);
  let b = select(abs(y), select(0.0, 1.0, !vg_is_finite(y)), endless);
  let most = max(a, b);
  // Scaled, because a quotient of subnormal or huge numbers is inaccurate.
  let scale = select(select(1.0, 1.8446744e19, most < 1e-18), 5.4210109e-20, most > 1e18);
  let t = min(a, b) * scale / select(most * scale, 1.0, most == 0.0);
  let q = vg_atan_core(t);
  let first = select(q, 1.57079633 - q, b > a);
  let negative = (bitcast<u32>(x) & 0x80000000u) != 0u;
  let angle = vg_with_sign(select(first, 3.14159265 - first, negative), y);
  return vg_keep_nan(vg_keep_nan(angle, x), y);
}`,
    needs: ["vg_is_finite", "vg_atan_core", "vg_with_sign", "vg_keep_nan"],
  },

  // asin(t) for t in [0, 0.5].
  vg_asin_core: {
    source: wgsl`
fn vg_asin_core(t: f32) -> f32 {
  let z = t * t;
  return t + t * z * (0.16666754 + z * (0.07495242 + z * (0.0454771 + z * (0.0241476 + z * 0.04221857))));
}`,
  },

  // Above 0.5 as pi / 2 - 2 asin(sqrt((1 - t) / 2)); beyond 1 the root is that of a negative number.
  vg_asin: {
    source: wgsl`
fn vg_asin(x: f32) -> f32 {
  let t = abs(x);
  let high = t > 0.5;
  let q = vg_asin_core(select(t, sqrt(max(0.0, 0.5 - 0.5 * t)), high));
  let y = vg_with_sign(select(q, 1.57079633 - 2.0 * q, high), x);
  return select(y, bitcast<f32>(select(0x7fc00000u, bitcast<u32>(x), vg_is_nan(x))), !(t <= 1.0) | vg_is_nan(x));
}`,
    needs: ["vg_asin_core", "vg_with_sign", "vg_is_nan"],
  },

  vg_acos: {
    source: wgsl`
fn vg_acos(x: f32) -> f32 {
  let t = abs(x);
  let high = t > 0.5;
  let q = vg_asin_core(select(t, sqrt(max(0.0, 0.5 - 0.5 * t)), high));
  let outer = select(2.0 * q, 3.14159265 - 2.0 * q, x < 0.0);
  let y = select(1.57079633 - vg_with_sign(q, x), outer, high);
  return select(y, bitcast<f32>(select(0x7fc00000u, bitcast<u32>(x), vg_is_nan(x))), !(t <= 1.0) | vg_is_nan(x));
}`,
    needs: ["vg_asin_core", "vg_with_sign", "vg_is_nan"],
  },

  // Far from 0, half the square of exp(x / 2), which does not overflow before the result does.
  vg_sinh: {
    source: wgsl`
fn vg_sinh(x: f32) -> f32 {
  let t = abs(x);
  let m = vg_expm1_core(min(t, 20.0));
  let h = vg_exp_scaled(0.5 * min(t, 178.0));
  let y = select(0.5 * (m + m / (m + 1.0)), 0.5 * h * h, t > 20.0);
  return vg_keep_nan(vg_with_sign(y, x), x);
}`,
    needs: ["vg_expm1_core", "vg_exp_scaled", "vg_with_sign", "vg_keep_nan"],
  },

  vg_cosh: {
    source: wgsl`
fn vg_cosh(x: f32) -> f32 {
  let t = abs(x);
  let h = vg_exp_scaled(0.5 * min(t, 178.0));
  let e = h * h;
  return vg_keep_nan(select(0.5 * e + 0.5 / e, 0.5 * h * h, t > 20.0), x);
}`,
    needs: ["vg_exp_scaled", "vg_keep_nan"],
  },

  // log(2 t) from 1e4 on, where t^2 + 1 is t^2.
  vg_asinh: {
    source: wgsl`
fn vg_asinh(x: f32) -> f32 {
  let t = abs(x);
  let s = min(t, 1e4);
  let near = vg_log1p(s + s * s / (1.0 + sqrt(s * s + 1.0)));
  return vg_keep_nan(vg_with_sign(select(near, vg_log(t) + 0.693147181, t > 1e4), x), x);
}`,
    needs: ["vg_log1p", "vg_log", "vg_with_sign", "vg_keep_nan"],
  },

  vg_acosh: {
    source: wgsl`
fn vg_acosh(x: f32) -> f32 {
  let s = min(x, 1e4) - 1.0;
  let near = vg_log1p(s + sqrt(max(0.0, s * (s + 2.0))));
  let y = select(near, vg_log(x) + 0.693147181, x > 1e4);
  return select(y, vg_float(0x7fc00000u), !(x >= 1.0) | vg_is_nan(x));
}`,
    needs: ["vg_log1p", "vg_log", "vg_float", "vg_is_nan"],
  },

  vg_atanh: {
    source: wgsl`
fn vg_atanh(x: f32) -> f32 {
  let t = abs(x);
  let y = 0.5 * vg_log1p(vg_div(2.0 * t, 1.0 - t));
  return vg_keep_nan(vg_with_sign(select(y, vg_float(0x7fc00000u), t > 1.0), x), x);
}`,
    needs: ["vg_log1p", "vg_div", "vg_float", "vg_with_sign", "vg_keep_nan"],
  },

  // The remainder with the sign of the divisor, as in Python. NaN for a divisor of 0.
  vg_mod: {
    source: wgsl`
fn vg_mod(a: f32, b: f32) -> f32 {
  let r = a - b * trunc(vg_div(a, b));
  let fixed = select(r, r + b, (r != 0.0) & ((r < 0.0) != (b < 0.0)));
  // Rounding of the quotient may leave a whole divisor.
  let below = select(fixed, fixed - b, abs(fixed) >= abs(b));
  let y = select(below, select(b, a, (a == 0.0) | ((a < 0.0) == (b < 0.0))), !vg_is_finite(b));
  return select(y, vg_float(0x7fc00000u), ((bitcast<u32>(b) & 0x7fffffffu) == 0u) | !vg_is_finite(a) | vg_is_nan(b));
}`,
    needs: ["vg_div", "vg_is_finite", "vg_is_nan", "vg_float"],
  },

  vg_mod_i32: {
    source: wgsl`
fn vg_mod_i32(a: i32, b: i32) -> i32 {
  let d = select(b, 1, (b == 0) | (b == -1));
  let r = a % d;
  return select(r, r + d, (r != 0) & ((r < 0) != (d < 0)));
}`,
  },

  vg_mod_u32: {
    source: wgsl`
fn vg_mod_u32(a: u32, b: u32) -> u32 {
  return a % select(b, 1u, b == 0u);
}`,
  },
};
