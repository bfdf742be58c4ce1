import type { mat3 } from "gl-matrix";
export const determinant: typeof mat3.determinant;
