/**
 * Decoders of compressed frames, by libraries: OpenJPEG, CharLS, and two of JPEG. `npm run build` makes one module of
 * this file and of them, which is loaded for the first compressed frame.
 */
import charLs from "@cornerstonejs/codec-charls/decode";
import openJpeg from "@cornerstonejs/codec-openjpeg/decode";
import jpegBaseline from "daikon/lib/jpeg-baseline.js";
import { Decoder } from "jpeg-lossless-decoder-js";

/** A decoded frame. */
export interface DecodedFrame {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  readonly bits: number;
  readonly data: Uint8Array | Int8Array | Uint16Array | Int16Array;
}

type Decode = (frame: Uint8Array<ArrayBuffer>) => Promise<DecodedFrame>;

/** A decoder compiled from C++. */
interface NativeDecoder {
  getEncodedBuffer(length: number): Uint8Array;
  decode(): void;
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { width: number; height: number; componentCount: number; bitsPerSample: number };
  delete(): void;
}

interface LosslessDecoder {
  decode(buffer: ArrayBuffer, offset: number, length: number): Uint8Array | Uint16Array;
  readonly frame: { dimX: number; dimY: number; numComp: number; precision: number };
}

interface BaselineDecoder {
  parse(bytes: Uint8Array): void;
  readonly width: number;
  readonly height: number;
  readonly components: readonly unknown[];
  getData(width: number, height: number): Uint8Array;
}

// Their own types, where there are any, differ from host to host.
const makeCharLs = charLs as unknown as (options: object) => Promise<{ JpegLSDecoder: new () => NativeDecoder }>;
const makeOpenJpeg = openJpeg as unknown as (options: object) => Promise<{ J2KDecoder: new () => NativeDecoder }>;
const Lossless = Decoder as unknown as new () => LosslessDecoder;
const { JpegImage } = jpegBaseline as unknown as { JpegImage: new () => BaselineDecoder };

function native(decoder: NativeDecoder, frame: Uint8Array): DecodedFrame {
  try {
    decoder.getEncodedBuffer(frame.length).set(frame);
    decoder.decode();
    const { width, height, componentCount: components, bitsPerSample: bits } = decoder.getFrameInfo();
    const bytes = Uint8Array.from(decoder.getDecodedBuffer()); // a copy: the buffer is the decoder's memory
    const data = bits > 8 ? new Uint16Array(bytes.buffer) : bytes;
    return { width, height, components, bits, data };
  } finally {
    decoder.delete();
  }
}

// They would print what they find on the console.
const quiet = { print: () => undefined, printErr: () => undefined };
const [charLsModule, openJpegModule] = [once(() => makeCharLs(quiet)), once(() => makeOpenJpeg(quiet))];

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

const jpeg2000: Decode = async (frame) => native(new (await openJpegModule()).J2KDecoder(), frame);
const jpegLs: Decode = async (frame) => native(new (await charLsModule()).JpegLSDecoder(), frame);

const jpegLossless: Decode = async (frame) => {
  const decoder = new Lossless();
  const { buffer, byteOffset, byteLength } = frame;
  const data = decoder.decode(buffer, byteOffset, byteLength);
  const { dimX: width, dimY: height, numComp: components, precision: bits } = decoder.frame;
  return {
    width,
    height,
    components,
    bits,
    data: new (bits > 8 ? Uint16Array : Uint8Array)(data.buffer as ArrayBuffer),
  };
};

const jpeg: Decode = async (frame) => {
  // The library's values of 12 bits are off by 15.
  if (precisionOf(frame) !== 8) {
    throw new Error("samples of 8 bits are read, others are not; decompress it by dcmdjpeg");
  }
  const decoder = new JpegImage();
  decoder.parse(frame);
  const { width, height, components } = decoder;
  return { width, height, components: components.length, bits: 8, data: decoder.getData(width, height) };
};

/** Bits of a sample, in the header of the frame that follows the other segments. */
function precisionOf(bytes: Uint8Array): number {
  for (let at = 2; at + 4 < bytes.length; at += 2 + (bytes[at + 2] << 8) + bytes[at + 3]) {
    if (bytes[at + 1] >= 0xc0 && bytes[at + 1] <= 0xc2) return bytes[at + 4];
  }
  return 0;
}

/** By UID of the transfer syntax. */
export const decoders: Readonly<Record<string, Decode>> = {
  "1.2.840.10008.1.2.4.50": jpeg,
  "1.2.840.10008.1.2.4.51": jpeg,
  "1.2.840.10008.1.2.4.57": jpegLossless,
  "1.2.840.10008.1.2.4.70": jpegLossless,
  "1.2.840.10008.1.2.4.80": jpegLs,
  "1.2.840.10008.1.2.4.81": jpegLs,
  "1.2.840.10008.1.2.4.90": jpeg2000,
  "1.2.840.10008.1.2.4.91": jpeg2000,
};
