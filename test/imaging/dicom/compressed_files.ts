/** What the golden compressed files were made from. */
import { ctSlice, type Elements, words } from "./dicom_files.ts";

/** Values with edges and slopes, from 0 to `most`. */
export const ramp = (count: number, most: number): number[] =>
  Array.from({ length: count }, (_, k) => (k % 37 === 0 ? most : Math.round((most * ((k * k) % 101)) / 101)));

/** An enhanced multi-frame file of four slices, stored out of order, each with a scale of its own. */
export function enhancedCt(changes: Elements = {}): Elements {
  const order = [2, 0, 3, 1];
  const pixels = order.flatMap((slice) => Array.from({ length: 20 }, (_, k) => 10 * slice + k));
  const base = ctSlice({ columns: 5, rows: 4 });
  const own = ["00200032 DS", "00200037 DS", "00280030 DS", "00281052 DS", "00281053 DS", "00180050 DS"];
  return {
    ...Object.fromEntries(Object.entries(base).filter(([key]) => !own.includes(key))),
    "00080016 UI": "1.2.840.10008.5.1.4.1.1.2.1",
    "00280008 IS": 4,
    "52009229 SQ": [{
      "00209116 SQ": [{ "00200037 DS": [1, 0, 0, 0, 1, 0] }],
      "00289110 SQ": [{ "00180050 DS": 3, "00280030 DS": [0.75, 0.5] }],
    }],
    "52009230 SQ": order.map((slice) => ({
      "00209113 SQ": [{ "00200032 DS": [1, 2, 3 * slice] }],
      "00289145 SQ": [{ "00281052 DS": 100 * slice, "00281053 DS": 2 }],
    })),
    "7fe00010 OW": words(pixels),
    ...changes,
  };
}
