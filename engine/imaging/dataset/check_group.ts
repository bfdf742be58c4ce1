/** Conflicts between the sets of a dataset group: the same image twice, with contradictory labels. */
import { applyAffine, columnNorms, cornerDistance, invertAffine } from "../volume/affine.ts";
import type { Affine } from "../volume/affine.ts";
import type { Note } from "./finding.ts";
import type { Dataset, DatasetCase } from "./types.ts";
import { DatasetError } from "./finding.ts";
import { ContentHash } from "../volume/content_hash.ts";
import { mapLabels } from "./label_map.ts";
import { roundLabels } from "./label_values.ts";
import { loadCase } from "./load_case.ts";
import { reorient, turnedGrid } from "../volume/reorient.ts";
import type { Triple, Volume } from "../volume/volume.ts";

/** A case that was read, without its voxels. */
interface Seen {
  readonly item: DatasetCase;
  /** Affine of the image reoriented to RAS, and as stored. */
  readonly affine: Affine;
  readonly stored: Affine;
  readonly shape: Triple;
}

export class GroupChecker {
  readonly #group: Dataset;
  readonly #tolerance: number;
  readonly #note: Note;
  /** The group's cases by their label file; one folder may be in several sets. */
  readonly #items = new Map<string, DatasetCase[]>();
  readonly #seen = new Map<string, Seen[]>();

  constructor(group: Dataset, tolerance: number, note: Note) {
    this.#group = group;
    this.#tolerance = tolerance;
    this.#note = note;
    for (const item of group.cases) {
      if (item.label !== undefined) this.#items.set(item.label, [...(this.#items.get(item.label) ?? []), item]);
    }
  }

  /** Adds a case of a set, as stored in its folder. */
  add(own: DatasetCase, images: readonly Volume[], label: Volume): void {
    const items = this.#items.get(own.label!) ?? [];
    if (items.length === 0) return;
    const hash = new ContentHash();
    for (const image of images) {
      const { data, shape } = reorient(image, "RAS");
      hash.text(shape.join());
      hash.bytes(new Uint8Array(Float32Array.from(data).buffer));
    }
    const key = hash.digest();
    const [image] = images as [Volume];
    const { affine, shape } = turnedGrid(image, "RAS");
    const seen = this.#seen.get(key) ?? [];
    this.#seen.set(key, seen);
    for (const item of items) {
      seen.push({ item, affine, stored: image.affine, shape });
      if (!item.labelMap!.values.some(Array.isArray)) continue;
      const { sides } = mapLabels(
        { ...label, data: Uint8Array.from(roundLabels(label).volume.data) },
        item.labelMap!,
        image,
      );
      for (const { names, note } of sides) {
        if (note === undefined) continue;
        const problem = `set "${item.set}" splits "${names.join('", "')}" into left and right, and ${note}`;
        this.#note("warning", label.name, problem, "Look at it; if it is wrong, name the sides in the label file");
      }
    }
  }

  /** Compares cases with the same image in the same position: their labels must not contradict each other. */
  async compareTwins(): Promise<void> {
    for (const seen of this.#seen.values()) {
      for (const [k, second] of seen.entries()) {
        for (const first of seen.slice(0, k)) {
          const apart = cornerDistance(first.affine, second.affine, first.shape);
          if (apart > this.#tolerance * Math.min(...columnNorms(first.affine))) continue;
          try {
            await this.#compare(first, second);
          } catch (fault) {
            // A case that the group cannot load is reported, and the check continues.
            if (!(fault instanceof DatasetError)) throw fault;
            this.#note("error", fault.file, fault.problem, fault.fix);
          }
        }
      }
    }
  }

  async #compare(first: Seen, second: Seen): Promise<void> {
    const { labels, ignoreLabel } = this.#group;
    const [a, b] = [await loadCase(this.#group, first.item), await loadCase(this.#group, second.item)];
    const [one, other] = [reorient(a.label!, "RAS").data, reorient(b.label!, "RAS").data];
    /** The classes that a value may mean in a case. */
    const meanings = ({ labelsPresent, merged = [] }: DatasetCase, value: number): readonly number[] => {
      if (value > 0) return merged.find((list) => list[0] === value) ?? [value];
      const told = [...(labelsPresent ?? labels.map((each) => each.value)), ...merged.flat()];
      return labels.map((each) => each.value).filter((each) => each === 0 || !told.includes(each));
    };
    const [ours, theirs] = [first.item, second.item].map((item) => labels.map((each) => meanings(item, each.value)));
    const differs = (p: number, q: number): boolean =>
      p !== ignoreLabel && q !== ignoreLabel && !ours[p].some((value) => theirs[q].includes(value));
    let [count, at] = [0, -1];
    for (let i = 0; i < one.length; i++) {
      if (!differs(one[i], other[i])) continue;
      if (count === 0) at = i;
      count++;
    }
    const { label: file, id } = second.item;
    const twin = `${first.item.label} (case ${first.item.id})`;
    if (count === 0) {
      const problem = `case ${id} shows the same image as ${twin}`;
      this.#note(
        "warning",
        file!,
        problem,
        'Leave one out by "cases" of its set, or hold both out together by --splits',
      );
      return;
    }
    const [X, Y] = second.shape;
    const index = [at % X, Math.floor(at / X) % Y, Math.floor(at / (X * Y))];
    const point = applyAffine(second.affine, index);
    const voxel = applyAffine(invertAffine(second.stored)!, point).map(Math.round).join(", ");
    const nameOf = (value: number): string => (value === 0 ? "none of its labels" : labels[value].name);
    const problem = `${count} voxels are claimed otherwise by ${twin}, of the same image: at voxel (${voxel}), ` +
      `${point.map((x) => x.toFixed(1)).join(", ")} mm, it is ${nameOf(other[at])} here and ${nameOf(one[at])} there`;
    const fix = 'Correct the "labels" or "present" of one set or one of the files, or leave the case out of one set';
    this.#note("error", file!, problem, fix);
  }
}
