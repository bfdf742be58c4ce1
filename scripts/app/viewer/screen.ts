/** NiiVue, given voxels that our readers read: it parses no file and looks at no value by itself. */
import { cmapper, DRAG_MODE, MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import type { LabelName } from "../tasks/models.ts";
import type { Picture } from "../tasks/scans.ts";
import type { Box } from "./edits.ts";
import { acrossOf, type Axis } from "../slices.ts";
import { done, SLAB, Slabs, slabsOf } from "./slabs.ts";

export type Layout = "all" | "axial" | "coronal" | "sagittal" | "solid";

const LAYOUTS: Readonly<Record<Layout, SLICE_TYPE>> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  solid: SLICE_TYPE.RENDER,
};

/** Datatypes of NIfTI, and their bits. */
const CODES = { Uint8Array: [2, 8], Int16Array: [4, 16], Float32Array: [16, 32] } as const;
const TEXTURE_OF_LABELS = WebGL2RenderingContext.TEXTURE7;
/** An outline needs a fill that is seen a little, or NiiVue draws neither. */
const HARDLY = 0.004;
/** Thin lines need more than areas. */
const SEEN = 0.9;

type Shown = Pick<Picture, "data" | "shape" | "spacing" | "affine" | "tone">;

function imageOf({ data, shape, spacing, affine, tone }: Shown): NVImage {
  const image = new NVImage();
  const [code, bits] = CODES[data.constructor.name as keyof typeof CODES];
  const hdr = {
    dims: [3, ...shape, 1, 1, 1, 1],
    pixDims: [1, ...spacing, 1, 1, 1, 1],
    affine: [0, 1, 2, 3].map((row) => affine.slice(4 * row, 4 * row + 4)),
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
  };
  image.hdr = hdr as unknown as NonNullable<NVImage["hdr"]>;
  image.img = data;
  image.nVox3D = data.length;
  image.nFrame4D = image.nTotalFrame4D = 1;
  image.calculateRAS();
  [image.cal_min, image.cal_max] = tone.window;
  // NiiVue would look at all voxels for these.
  [image.global_min, image.global_max] = [tone.min, tone.max];
  [image.robust_min, image.robust_max] = tone.window;
  return image;
}

function colorsOf(names: readonly LabelName[]): Exclude<Parameters<typeof cmapper.makeDrawLut>[0], string> {
  const all = [{ value: 0, name: "", color: "#000000" }, ...names];
  const part = (at: number): number[] => all.map(({ color }) => Number.parseInt(color.slice(at, at + 2), 16));
  return {
    R: part(1),
    G: part(3),
    B: part(5),
    A: all.map(({ value }) => (value === 0 ? 0 : 255)),
    I: all.map(({ value }) => value),
    labels: all.map(({ name }) => name),
  };
}

/** Voxels from which a scan is large. */
const LARGE = 2 ** 25;

/** Where a point of the screen lies in the scan. */
export interface Place {
  readonly axis: Axis;
  /** Along x, y, z; the center of the first voxel is [0, 0, 0]. */
  readonly voxel: readonly number[];
  /** Pixels of the page for a mm. */
  readonly scale: number;
}

export class Screen {
  readonly canvas: HTMLCanvasElement;
  readonly #nv: Niivue;
  readonly #slabs: Slabs;
  #shape: readonly number[] = [1, 1, 1];
  #spacing: readonly number[] = [1, 1, 1];
  #map: NVImage | undefined;

  constructor(canvas: HTMLCanvasElement, nv: Niivue) {
    this.canvas = canvas;
    this.#nv = nv;
    this.#slabs = new Slabs(nv);
  }

  /** @throws Error if the browser has no WebGL2 */
  static async open(canvas: HTMLCanvasElement): Promise<Screen> {
    // The context that NiiVue will ask for.
    const gl = canvas.getContext("webgl2", { antialias: false });
    if (!gl) {
      throw new Error(
        "This browser has no WebGL 2, by which scans are shown: switch on graphics acceleration in its settings, " +
          "or use another browser",
      );
    }
    const nv = new Niivue({
      logLevel: "error",
      dragAndDropEnabled: false,
      loadingText: "",
      sliceType: SLICE_TYPE.MULTIPLANAR,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarPadPixels: 2,
      isRadiologicalConvention: true,
      showAllOrientationMarkers: true,
      crosshairWidth: 0.3,
      crosshairWidthUnit: "percent",
      crosshairColor: [0.45, 0.7, 1, 0.7],
      fontColor: [0.85, 0.88, 0.93, 1],
      fontSizeScaling: 0.3,
      isRuler: true,
      rulerColor: [0.85, 0.88, 0.93, 0.8],
      rulerWidth: 2,
      dragMode: DRAG_MODE.windowing,
      // Its keys are ours.
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
    });
    // It waits for the GPU after each slice that it draws into a texture, to ask whether that was possible.
    gl.checkFramebufferStatus = () => gl.FRAMEBUFFER_COMPLETE;
    await nv.attachToCanvas(canvas, false);
    // It would fill new textures with zeros, which they hold already.
    const { r8Tex } = nv;
    nv.r8Tex = (texture, unit, dims) => r8Tex.call(nv, texture, unit, dims, false);
    return new Screen(canvas, nv);
  }

  /** Calls back when the crosshair moved, and when the window was changed on the screen. */
  listen({ moved, toned }: { moved: () => void; toned?: (window: readonly [number, number]) => void }): void {
    this.#nv.onLocationChange = moved;
    this.#nv.onIntensityChange = ({ cal_min: low = 0, cal_max: high = 1 }) => toned?.([low, high]);
  }

  /** Shows another scan with its labels, whose array is used, not copied. */
  show(picture: Picture, labels: Uint8Array<ArrayBuffer>, names: readonly LabelName[]): void {
    const nv = this.#nv;
    nv.closeDrawing();
    this.map(undefined, picture);
    for (const volume of [...nv.volumes]) nv.removeVolume(volume);
    [this.#shape, this.#spacing] = [picture.shape, picture.spacing];
    // The solid of a large scan is drawn for who asks for it alone: each change of a slice would draw it again.
    nv.opts.multiplanarShowRender = labels.length > LARGE ? SHOW_RENDER.NEVER : SHOW_RENDER.ALWAYS;
    nv.drawLut = cmapper.makeDrawLut(colorsOf(names));
    nv.addVolume(imageOf(picture));
    nv.drawTexture = nv.r8Tex(nv.drawTexture, TEXTURE_OF_LABELS, nv.back!.dims!, false);
    nv.drawBitmap = labels;
    nv.setPan2Dxyzmm(Float32Array.of(0, 0, 0, 1) as never);
    this.crosshair = picture.shape.map((n) => Math.floor(n / 2));
    void this.relabel();
  }

  /** Shows all labels anew, some slices in each frame, so that large scans do not hold up the page. */
  async relabel(): Promise<void> {
    const labels = this.#nv.drawBitmap;
    const [X, Y, Z] = this.#shape;
    for (const [k, [from, to]] of slabsOf(Z, X * Y).entries()) {
      if (k > 0) await done(this.#nv.gl);
      if (this.#nv.drawBitmap !== labels) return;
      this.#upload([[0, 0, from], [X - 1, Y - 1, to]]);
    }
    this.#nv.drawScene();
  }

  /** Other voxels of the scan that is shown: another channel. */
  repaint(picture: Picture): void {
    const nv = this.#nv;
    const next = imageOf(picture);
    const [image] = nv.volumes;
    Object.assign(image, { hdr: next.hdr, img: next.img, global_min: next.global_min, global_max: next.global_max });
    this.window = picture.tone.window;
  }

  /** Other names and colors. */
  name(names: readonly LabelName[]): void {
    this.#nv.drawLut = cmapper.makeDrawLut(colorsOf(names));
    this.#nv.refreshColormaps();
    this.#nv.drawScene();
  }

  /** Shows what was changed in the labels. */
  patch(box: Box): void {
    const [from, to] = box;
    if (from.reduce((size, first, axis) => size * (to[axis] - first + 1), 1) > SLAB) return void this.relabel();
    this.#upload(box);
    this.#nv.drawScene();
  }

  #upload([from, to]: Box): void {
    const nv = this.#nv;
    const gl = nv._gl!;
    const [X, Y] = this.#shape;
    const size = to.map((last, axis) => last - from[axis] + 1);
    gl.activeTexture(TEXTURE_OF_LABELS);
    gl.bindTexture(gl.TEXTURE_3D, nv.drawTexture);
    // The part of the array that is the box.
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, X);
    gl.pixelStorei(gl.UNPACK_IMAGE_HEIGHT, Y);
    const first = from[0] + X * (from[1] + Y * from[2]);
    const [at, extent] = [from, size] as [number[], number[]];
    gl.texSubImage3D(
      ...[gl.TEXTURE_3D, 0, at[0], at[1], at[2], extent[0], extent[1], extent[2]] as const,
      ...[gl.RED, gl.UNSIGNED_BYTE, nv.drawBitmap!, first] as const,
    );
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, 0);
    gl.pixelStorei(gl.UNPACK_IMAGE_HEIGHT, 0);
  }

  /** Shows values from 0 to 1 over the scan, or none. */
  map(values: Float32Array<ArrayBuffer> | undefined, picture: Picture): void {
    const nv = this.#nv;
    if (this.#map) nv.removeVolume(this.#map);
    this.#slabs.drop(1);
    this.#map = undefined;
    if (!values) return;
    const tone = { min: 0, max: 1, window: [0.02, 1], hounsfield: false } as const;
    const image = this.#map = imageOf({ ...picture, data: values, tone });
    image._colormap = "viridis";
    image._opacity = 0.6;
    nv.addVolume(image);
  }

  set window([low, high]: readonly [number, number]) {
    const [image] = this.#nv.volumes;
    if (!image) return;
    [image.cal_min, image.cal_max] = [low, high];
    this.#nv.updateGLVolume();
  }

  set layout(layout: Layout) {
    this.#nv.setSliceType(LAYOUTS[layout]);
  }

  /** How labels look: opacity from 0 to 1, filled or as outlines. */
  look(opacity: number, outline: boolean): void {
    this.#nv.drawRimOpacity = outline ? Math.max(opacity, SEEN) : -1;
    this.#nv.setDrawOpacity(outline ? Math.min(opacity, HARDLY) : opacity);
  }

  set radiological(on: boolean) {
    this.#nv.setRadiologicalConvention(on);
  }

  set smooth(on: boolean) {
    this.#nv.setInterpolation(!on);
  }

  /** Zooms around the crosshair; 0 fits the scan again. */
  zoom(factor: number): void {
    const [, , , before] = this.#nv.scene.pan2Dxyzmm;
    const next = factor === 0 ? 1 : Math.max(0.5, Math.min(20, before * factor));
    const mm = this.#nv.frac2mm(this.#nv.scene.crosshairPos);
    const center = this.#nv.frac2mm(Float32Array.of(0.5, 0.5, 0.5));
    const pan = [0, 1, 2].map((k) => (next === 1 ? 0 : (center[k] - mm[k]) * (1 - 1 / next)));
    this.#nv.setPan2Dxyzmm(Float32Array.of(...pan, next) as never);
  }

  /** The voxel under the crosshair. */
  get crosshair(): readonly number[] {
    const { crosshairPos } = this.#nv.scene;
    return this.#shape.map((n, k) => Math.max(0, Math.min(n - 1, Math.floor(crosshairPos[k] * n))));
  }

  set crosshair(voxel: readonly number[]) {
    const frac = voxel.map((v, k) => (Math.max(0, Math.min(this.#shape[k] - 1, v)) + 0.5) / this.#shape[k]);
    this.#nv.scene.crosshairPos = Float32Array.from(frac) as never;
    this.#nv.drawScene();
    this.#nv.onLocationChange(undefined);
  }

  /** Millimeters of a voxel, to the right, front and top. */
  mm(voxel: readonly number[]): readonly number[] {
    return [...this.#nv.frac2mm(Float32Array.from(voxel, (v, k) => (v + 0.5) / this.#shape[k]) as never)].slice(0, 3);
  }

  /** What a point of the canvas shows, in pixels of the page; undefined outside of the slices. */
  placeOf(x: number, y: number): Place | undefined {
    const nv = this.#nv;
    const ratio = nv.uiData.dpr ?? 1;
    const at = [x * ratio, y * ratio];
    const tile = nv.tileIndex(at[0], at[1]);
    const slice = nv.screenSlices[tile];
    if (!slice || slice.axCorSag > SLICE_TYPE.SAGITTAL) return undefined;
    const frac = nv.screenXY2TextureFrac(at[0], at[1], tile, true);
    if (frac[0] < 0) return undefined;
    const axis = 2 - slice.axCorSag as Axis;
    const voxel = this.#shape.map((n, k) => (k === axis ? this.crosshair[k] : frac[k] * n - 0.5));
    return { axis, voxel, scale: slice.leftTopWidthHeight[2] / Math.abs(slice.fovMM[0]) / ratio };
  }

  /** The slices on the screen, unless they are zoomed, in pixels of the page: for tests and those who script it. */
  get tiles(): readonly { readonly axis: number; readonly box: readonly number[] }[] {
    const ratio = this.#nv.uiData.dpr ?? 1;
    return this.#nv.screenSlices.filter(({ axCorSag }) => axCorSag <= SLICE_TYPE.SAGITTAL).map((tile) => {
      const axis = 2 - tile.axCorSag as Axis;
      const [left, top, width, height] = tile.leftTopWidthHeight.map((v) => v / ratio);
      // A slice lies in the middle of its tile, which may show more than it.
      const [w, h] = acrossOf(axis).map((k, side) =>
        ([width, height][side] * this.#shape[k] * this.#spacing[k]) / Math.abs(tile.fovMM[side])
      );
      return { axis, box: [left + (width - w) / 2, top + (height - h) / 2, w, h] };
    });
  }

  get spacing(): readonly number[] {
    return this.#spacing;
  }

  /** Takes the size that its place has now. */
  resize(): void {
    this.#nv.resizeListener();
  }

  /** Lets another screen move along, and the other way round. */
  link(other: Screen): void {
    this.#nv.broadcastTo([other.#nv], { "2d": true, "3d": true });
    other.#nv.broadcastTo([this.#nv], { "2d": true, "3d": true });
  }

  unlink(): void {
    this.#nv.broadcastTo([]);
  }

  close(): void {
    for (const layer of [0, 1]) this.#slabs.drop(layer);
    this.#nv.cleanup();
  }
}
