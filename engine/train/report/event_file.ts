/** Event files of TensorBoard: records with checksums, each an Event of its event.proto. */
import { PbfWriter } from "pbf";

/** Numbers at a step. */
export interface Scalars {
  readonly step: number;
  /** Seconds; the Unix time where it is known. */
  readonly seconds: number;
  readonly values: readonly (readonly [tag: string, value: number])[];
}

/** CRC-32C (Castagnoli), bit-reversed, by bytes. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}
/** Rotated and shifted, as records keep it: data that hold checksums are common. */
const masked = (crc: number): number => ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0;

/** A record: its length and the length's checksum, the data and their checksum, little endian. */
function record(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(bytes.subarray(0, 8))), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, masked(crc32c(data)), true);
  return bytes;
}

function scalarsEvent({ step, seconds, values }: Scalars): Uint8Array {
  const event = new PbfWriter();
  event.writeDoubleField(1, seconds);
  event.writeVarintField(2, step);
  event.writeMessage(5, (_, summary) => {
    for (const [tag, value] of values) {
      summary.writeMessage(1, (_, one) => {
        one.writeStringField(1, tag);
        one.writeFloatField(2, value);
      }, null);
    }
  }, null);
  return event.finish();
}

/** The bytes of an event file. */
export function eventFile(list: readonly Scalars[]): Uint8Array<ArrayBuffer> {
  const first = new PbfWriter();
  first.writeDoubleField(1, list[0]?.seconds ?? 0);
  first.writeStringField(3, "brain.Event:2");
  const records = [first.finish(), ...list.map(scalarsEvent)].map(record);
  const bytes = new Uint8Array(records.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const each of records) {
    bytes.set(each, at);
    at += each.length;
  }
  return bytes;
}
