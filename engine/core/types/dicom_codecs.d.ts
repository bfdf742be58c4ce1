/** Packages without types. What dicom/codecs.ts uses of them is typed there, since Deno sees them otherwise. */

declare module "@cornerstonejs/codec-charls/decode" {
  const charLs: unknown;
  export default charLs;
}

declare module "@cornerstonejs/codec-openjpeg/decode" {
  const openJpeg: unknown;
  export default openJpeg;
}

declare module "daikon/lib/jpeg-baseline.js" {
  const library: unknown;
  export default library;
}

declare module "jpeg-lossless-decoder-js" {
  export const Decoder: unknown;
}

declare module "daikon" {
  const daikon: { readonly Series: { parseImage(view: DataView): unknown } };
  export default daikon;
}
