import type { mat4 } from "gl-matrix";
export const fromRotationTranslationScale: typeof mat4.fromRotationTranslationScale;
export const invert: typeof mat4.invert;
export const multiply: typeof mat4.multiply;
export const transpose: typeof mat4.transpose;
