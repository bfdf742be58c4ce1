/** Maps the labels of a file to those of a dataset group. */
import type { DatasetLabel } from "./dataset_json.ts";
import { splitSides } from "./split_sides.ts";
import type { SideSplit } from "./split_sides.ts";
import { volumeLike } from "../volume/volume.ts";
import type { Volume } from "../volume/volume.ts";

/**
 * From the labels of a case's file to those of its dataset group. Plain data, so that it can be sent to worker threads.
 */
export interface LabelMap {
  /** Labels of the files, by value, background first. */
  readonly labels: readonly DatasetLabel[];
  /** The files' ignore label, if any. */
  readonly ignoreLabel?: number;
  /** Foreground values of the files that were annotated in this case; absent if all were. */
  readonly labelsPresent?: readonly number[];
  /** Indexed by file value: the value in the group, or that of the left and of the right half of a paired organ. */
  readonly values: readonly (number | readonly [left: number, right: number])[];
}

/** How the sides of a label were separated in a case. */
export interface MappedSides extends SideSplit {
  /** Labels of the file that were split together. */
  readonly names: readonly string[];
}

/**
 * Converts a label map to the values of its dataset group.
 *
 * @param label values of `map.labels` (and its ignore label), as Uint8Array
 * @param image on the same grid; used to find the middle of the body if an organ has only one connected component
 * @returns label: a new volume; sides: one entry for each pair, see `splitSides`
 */
export function mapLabels(label: Volume, map: LabelMap, image: Volume): { label: Volume; sides: MappedSides[] } {
  const table = new Uint8Array(256);
  const pairs = new Map<string, { pair: readonly [number, number]; values: number[] }>();
  map.values.forEach((to, value) => {
    if (typeof to === "number") {
      table[value] = to;
    } else {
      const key = to.join();
      if (!pairs.has(key)) pairs.set(key, { pair: to, values: [] });
      pairs.get(key)!.values.push(value);
    }
  });
  const data = new Uint8Array(label.data.length);
  for (let i = 0; i < data.length; i++) data[i] = table[label.data[i]];
  const nameOf = (value: number): string => map.labels.find((each) => each.value === value)?.name ?? `label ${value}`;
  const sides = [...pairs.values()].map(({ pair, values }) => ({
    names: values.map(nameOf),
    ...splitSides(label, { values, pair, image }, data),
  }));
  return { label: volumeLike(label, data), sides };
}
