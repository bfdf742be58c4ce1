/** Parts of packages without types that decode DICOM's compressed pixels. */

interface NativeDecoder {
  getEncodedBuffer(length: number): Uint8Array;
  decode(): void;
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { width: number; height: number; componentCount: number; bitsPerSample: number };
  delete(): void;
}

declare module "@cornerstonejs/codec-charls/decode" {
  export default function charLs(options: object): Promise<{ JpegLSDecoder: new () => NativeDecoder }>;
}

declare module "@cornerstonejs/codec-openjpeg/decode" {
  export default function openJpeg(options: object): Promise<{ J2KDecoder: new () => NativeDecoder }>;
}

declare module "daikon/lib/jpeg-baseline.js" {
  class JpegImage {
    parse(bytes: Uint8Array): void;
    readonly width: number;
    readonly height: number;
    readonly components: readonly unknown[];
    getData(width: number, height: number): Uint8Array;
  }
  const library: { readonly JpegImage: typeof JpegImage };
  export default library;
}

declare module "jpeg-lossless-decoder-js" {
  export class Decoder {
    decode(buffer: ArrayBuffer, offset: number, length: number): Uint8Array | Uint16Array;
    readonly frame: {
      readonly dimX: number;
      readonly dimY: number;
      readonly numComp: number;
      readonly precision: number;
    };
  }
}

declare module "daikon" {
  const daikon: { readonly Series: { parseImage(view: DataView): unknown } };
  export default daikon;
}
