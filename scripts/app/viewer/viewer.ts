/** The scan on the screen: NiiVue, given voxels that our readers read. */
import { cmapper, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import { make } from "../elements.ts";
import type { LabelName } from "../tasks/models.ts";
import type { Picture } from "../tasks/scans.ts";

/** Datatypes of NIfTI. */
const CODES = { Uint8Array: [2, 8], Int16Array: [4, 16], Float32Array: [16, 32] } as const;

/** A picture as an image of NiiVue, which reads no file and looks at no value for it. */
function imageOf({ data, shape, spacing, affine, tone }: Picture): NVImage {
  const image = new NVImage();
  const [code, bits] = CODES[data.constructor.name as keyof typeof CODES];
  const rows = [0, 1, 2, 3].map((row) => affine.slice(4 * row, 4 * row + 4));
  image.hdr = {
    dims: [3, ...shape, 1, 1, 1, 1],
    pixDims: [1, ...spacing, 1, 1, 1, 1],
    affine: rows,
    datatypeCode: code,
    numBitsPerVoxel: bits,
    scl_slope: 1,
    scl_inter: 0,
    littleEndian: true,
    sform_code: 1,
    qform_code: 0,
    intent_code: 0,
    cal_min: tone.window[0],
    cal_max: tone.window[1],
  } as unknown as NonNullable<NVImage["hdr"]>;
  image.img = data;
  image.nVox3D = data.length;
  image.nFrame4D = image.nTotalFrame4D = 1;
  image.frame4D = 0;
  image.calculateRAS();
  [image.cal_min, image.cal_max] = tone.window;
  Object.assign(image, { global_min: tone.min, global_max: tone.max, robust_min: tone.min, robust_max: tone.max });
  return image;
}

type ColorMap = Exclude<Parameters<typeof cmapper.makeDrawLut>[0], string>;

function colorsOf(names: readonly LabelName[]): ColorMap {
  const part = (hex: string, at: number): number => Number.parseInt(hex.slice(at, at + 2), 16);
  const all = [{ value: 0, name: "", color: "#000000" }, ...names];
  return {
    R: all.map(({ color }) => part(color, 1)),
    G: all.map(({ color }) => part(color, 3)),
    B: all.map(({ color }) => part(color, 5)),
    A: all.map(({ value }) => (value === 0 ? 0 : 255)),
    I: all.map(({ value }) => value),
    labels: all.map(({ name }) => name),
  };
}

export class Viewer {
  readonly #nv: Niivue;

  constructor(nv: Niivue) {
    this.#nv = nv;
  }

  /** Shows another scan, without labels. */
  showScan(picture: Picture): void {
    const nv = this.#nv;
    nv.closeDrawing();
    for (const volume of [...nv.volumes]) nv.removeVolume(volume);
    nv.addVolume(imageOf(picture));
    nv.createEmptyDrawing();
  }

  /** Shows labels on the scan's grid as the page has it. The array is used, not copied. */
  showLabels(labels: Uint8Array<ArrayBuffer>, names: readonly LabelName[]): void {
    const nv = this.#nv;
    nv.drawLut = cmapper.makeDrawLut(colorsOf(names));
    nv.drawBitmap = labels;
    nv.updateGLVolume();
    nv.refreshDrawing(true);
  }
}

export async function openViewer(stage: HTMLElement): Promise<Viewer> {
  const canvas = make("canvas", { tabIndex: 0, "aria-label": "Scan" });
  stage.replaceChildren(make("div", { className: "canvas" }, canvas));
  const nv = new Niivue({
    logLevel: "error",
    dragAndDropEnabled: false,
    loadingText: "",
    sliceType: SLICE_TYPE.MULTIPLANAR,
    multiplanarShowRender: SHOW_RENDER.ALWAYS,
    isRadiologicalConvention: true,
    viewModeHotKey: "",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
  });
  await nv.attachToCanvas(canvas, false);
  return new Viewer(nv);
}
