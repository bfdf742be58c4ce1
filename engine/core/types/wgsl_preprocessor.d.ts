declare module "wgsl-preprocessor/wgsl-preprocessor.js" {
  /** Template tag with `#if ${condition}`, `#elif`, `#else`, `#endif`; other values are inserted verbatim. */
  export function wgsl(strings: TemplateStringsArray, ...values: readonly unknown[]): string;
}
