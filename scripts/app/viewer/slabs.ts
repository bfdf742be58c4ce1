/** Scans put on the GPU some slices at a time, so that large ones do not hold up the page. */
import type { Niivue, NVImage } from "@niivue/niivue";

/** Bytes that go to the GPU at once. */
export const SLAB = 8e6;
const { TEXTURE0, TEXTURE2, TEXTURE9: VOXELS, prototype } = WebGL2RenderingContext;
/** Where NiiVue binds the colors of its layers: of the scan, and of what lies over it. */
const UNITS: readonly number[] = [TEXTURE0, TEXTURE2];
/** Voxels of the textures that NiiVue makes as placeholders. */
const TINY = 8;
/** Milliseconds between two looks at what the GPU has done. */
const PAUSE = 4;

/** First and last slice of each slab; the one with slice `first` comes first. */
export function slabsOf(slices: number, bytesPerSlice: number, first = 0): (readonly [from: number, to: number])[] {
  const depth = Math.max(1, Math.floor(SLAB / bytesPerSlice));
  const slabs: (readonly [number, number])[] = [];
  for (let from = 0; from < slices; from += depth) slabs.push([from, Math.min(slices, from + depth) - 1]);
  const at = Math.max(0, Math.min(slabs.length - 1, Math.floor(first / depth)));
  return [...slabs.splice(at, 1), ...slabs];
}

/** Waits until the GPU has done what it was told: with more waiting there, the next call would hold up the page. */
export async function done(gl: WebGL2RenderingContext): Promise<void> {
  const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
  // A context that was lost has none.
  if (!fence) return;
  gl.flush();
  do await new Promise((resolve) => setTimeout(resolve, PAUSE)); while (
    gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED
  );
  gl.deleteSync(fence);
}

/** The scan or a map over it, on the GPU. */
interface Layer {
  readonly source: NVImage["img"];
  readonly voxels: WebGLTexture;
  readonly colors: WebGLTexture;
  /** First slices of the slabs whose voxels are there. */
  readonly uploaded: Set<number>;
  /** The image as it was asked for last; an earlier one is drawn no further. */
  turn: number;
}

/**
 * NiiVue keeps a layer as the colors of its window, in a texture that it draws slice by slice from another one, which
 * it makes and fills anew each time. Here the voxels stay on the GPU, and of both textures one slab follows another
 * when the GPU is done with it, that at the crosshair first. NiiVue's gradients, two more textures as large that only
 * lit solids need, are left out.
 */
export class Slabs {
  readonly #nv: Niivue;
  readonly #refresh: Niivue["refreshLayers"];
  readonly #layers: (Layer | undefined)[] = [];

  constructor(nv: Niivue) {
    this.#nv = nv;
    this.#refresh = nv.refreshLayers;
    nv.refreshLayers = (image, layer) => {
      const { max3D } = nv.uiData;
      const fits = image.dimsRAS!.every((size) => !max3D || size <= max3D);
      if (layer < UNITS.length && fits) void this.#show(image, layer);
      else this.#refresh.call(nv, image, layer);
    };
    const { rgbaTex } = nv;
    nv.rgbaTex = (texture, unit, dims) =>
      this.#layers[UNITS.indexOf(unit)]?.colors ?? rgbaTex.call(nv, texture, unit, dims, false);
  }

  /** Lets a layer go. */
  drop(layer: number): void {
    const { gl } = this.#nv;
    const before = this.#layers[layer];
    if (!before) return;
    before.turn++;
    gl.deleteTexture(before.voxels);
    gl.deleteTexture(before.colors);
    this.#layers[layer] = undefined;
  }

  async #show(image: NVImage, index: number): Promise<void> {
    const nv = this.#nv;
    if (this.#layers[index]?.source !== image.img) this.#make(image, index);
    const layer = this.#layers[index]!;
    const turn = ++layer.turn;
    const [X, Y, Z] = image.dimsRAS!.slice(1);
    const first = Math.floor(nv.scene.crosshairPos[2] * Z);
    for (const [k, [from, to]] of slabsOf(Z, X * Y * image.img!.BYTES_PER_ELEMENT, first).entries()) {
      if (k > 0) {
        await done(nv.gl);
        // Meanwhile another scan or another window was asked for.
        if (turn !== layer.turn) return;
      }
      this.#upload(layer, image, from, to);
      this.#draw(layer, image, index, [from, to]);
      if (k > 0) nv.drawScene();
    }
  }

  #make(image: NVImage, index: number): void {
    const nv = this.#nv;
    const { gl } = nv;
    const dims = image.dimsRAS!;
    this.drop(index);
    const voxels = gl.createTexture()!;
    gl.activeTexture(VOXELS);
    gl.bindTexture(gl.TEXTURE_3D, voxels);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_3D, filter, gl.NEAREST);
    }
    for (const wrap of [gl.TEXTURE_WRAP_R, gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_3D, wrap, gl.CLAMP_TO_EDGE);
    }
    gl.texStorage3D(gl.TEXTURE_3D, 1, this.#format(image).internal, dims[1], dims[2], dims[3]);
    const colors = nv.rgbaTex(null, UNITS[index], dims)!;
    this.#layers[index] = { source: image.img, voxels, colors, uploaded: new Set(), turn: 0 };
  }

  #format({ img }: NVImage): { internal: number; format: number; type: number } {
    const { gl } = this.#nv;
    if (img instanceof Uint8Array) return { internal: gl.R8UI, format: gl.RED_INTEGER, type: gl.UNSIGNED_BYTE };
    if (img instanceof Int16Array) return { internal: gl.R16I, format: gl.RED_INTEGER, type: gl.SHORT };
    return { internal: gl.R32F, format: gl.RED, type: gl.FLOAT };
  }

  #upload({ voxels, uploaded }: Layer, image: NVImage, from: number, to: number): void {
    if (uploaded.has(from)) return;
    const { gl } = this.#nv;
    const [X, Y] = image.dimsRAS!.slice(1);
    const { format, type } = this.#format(image);
    gl.activeTexture(VOXELS);
    gl.bindTexture(gl.TEXTURE_3D, voxels);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const extent = [X, Y, to - from + 1] as const;
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, from, ...extent, format, type, image.img as ArrayBufferView, X * Y * from);
    uploaded.add(from);
  }

  /** Lets NiiVue draw slices of a layer's colors, and nothing else of what it would upload and draw. */
  #draw({ colors, voxels }: Layer, image: NVImage, index: number, [from, to]: readonly [number, number]): void {
    const nv = this.#nv;
    const { gl } = nv;
    let isWanted = false;
    const own: Partial<WebGL2RenderingContext> = {
      texStorage3D: (...args) => args[3] * args[4] * args[5] <= TINY && prototype.texStorage3D.apply(gl, args),
      texSubImage3D: () => undefined,
      framebufferTextureLayer: (...args) => {
        isWanted = args[2] === colors && args[4] >= from && args[4] <= to;
        if (isWanted) prototype.framebufferTextureLayer.apply(gl, args);
      },
      drawArrays: (...args) => {
        if (!isWanted) return;
        gl.activeTexture(VOXELS);
        gl.bindTexture(gl.TEXTURE_3D, voxels);
        prototype.drawArrays.apply(gl, args);
      },
    };
    Object.assign(gl, own);
    try {
      this.#refresh.call(nv, image, index);
    } finally {
      for (const name of Object.keys(own)) Reflect.deleteProperty(gl, name);
    }
  }
}
