// What page.test.ts runs in Chromium.
import { encodeLabels, readVolume } from "../../../engine/imaging/mod.ts";
import { openModel } from "../../../models/mod.ts";

// deno-lint-ignore no-explicit-any
const page = globalThis as any;

page.readAll = async (files: Record<string, string>): Promise<Record<string, number[]>> => {
  const found: Record<string, number[]> = {};
  for (const [name, base64] of Object.entries(files)) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    found[name] = [...(await readVolume(new File([bytes], `${name}.dcm`))).data];
  }
  return found;
};

/** A model from the first input segments the files that are dropped on the page, and the link saves the labels. */
document.body.innerHTML = `<input id="model" type="file"><p id="zone">Drop a series here</p><a id="save">Save</a>`;
const [chosen, zone, save] = ["model", "zone", "save"].map((id) => document.getElementById(id)!);
zone.ondragover = (event) => event.preventDefault();
zone.ondrop = async (event) => {
  event.preventDefault();
  const files = [...event.dataTransfer!.files];
  try {
    const model = await openModel((chosen as HTMLInputElement).files![0]);
    const { labels } = await model.segment(files);
    const named = [{ value: 1, name: "a" }, { value: 2, name: "b" }];
    const bytes = await encodeLabels(labels, "seg", { labels: named, date: new Date(2024, 4, 6) });
    Object.assign(save, { href: URL.createObjectURL(new Blob([bytes])), download: "labels.seg.dcm" });
    zone.textContent = "Segmented";
  } catch (error) {
    zone.textContent = String(error);
  }
};
