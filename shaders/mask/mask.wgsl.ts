/** Code shared by mask kernels. */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";

/** `inside(word)`: whether an element, read as bits, is nonzero; for f32, neither 0 nor -0. */
export const insideFunction = (float: boolean): string =>
  wgsl`
fn inside(word: u32) -> bool {
#if ${float}
  return (word << 1u) != 0u;
#else
  return word != 0u;
#endif
}`;
