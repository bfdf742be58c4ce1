/** A scan put on the GPU some slices in each frame, so that large ones do not hold up the page. */
import type { Niivue, NVImage } from "@niivue/niivue";

/** Bytes that go to the GPU at once. */
export const SLAB = 8e6;
const { TEXTURE0: SCAN, TEXTURE9: VOXELS, prototype } = WebGL2RenderingContext;
/** Voxels of the textures that NiiVue makes as placeholders. */
const TINY = 8;

export const nextFrame = (): Promise<unknown> => new Promise((resolve) => requestAnimationFrame(resolve));

/** First and last slice of each slab; that of `first` comes first. */
export function slabsOf(slices: number, bytesPerSlice: number, first = 0): (readonly [from: number, to: number])[] {
  const depth = Math.max(1, Math.floor(SLAB / bytesPerSlice));
  const slabs: (readonly [number, number])[] = [];
  for (let from = 0; from < slices; from += depth) slabs.push([from, Math.min(slices, from + depth) - 1]);
  const at = Math.floor(first / depth);
  return [...slabs.splice(at, 1), ...slabs];
}

/**
 * NiiVue keeps voxels as the colors of its window, in a texture that it draws slice by slice from another one that it
 * makes each time. Here the voxels stay on the GPU, and it draws slices of one slab in each frame, of the slab at the
 * crosshair first. Its gradients, two more textures as large that only lit solids need, are left out.
 */
export class Slabs {
  readonly #nv: Niivue;
  readonly #refresh: Niivue["refreshLayers"];
  #voxels: WebGLTexture | null = null;
  #source: NVImage["img"] | undefined;
  /** First slices of the slabs that are on the GPU. */
  readonly #uploaded = new Set<number>();
  #turn = 0;

  constructor(nv: Niivue) {
    this.#nv = nv;
    this.#refresh = nv.refreshLayers;
    nv.refreshLayers = (image, layer) => {
      const { max3D } = nv.uiData;
      if (layer === 0 && image.dimsRAS!.every((n) => !max3D || n <= max3D)) void this.#show(image);
      else this.#refresh.call(nv, image, layer);
    };
    const { rgbaTex } = nv;
    nv.rgbaTex = (texture, unit, dims) =>
      unit === SCAN ? nv.volumeTexture : rgbaTex.call(nv, texture, unit, dims, false);
  }

  async #show(image: NVImage): Promise<void> {
    const nv = this.#nv;
    const turn = ++this.#turn;
    if (this.#source !== image.img) this.#make(image);
    const [X, Y, Z] = image.dimsRAS!.slice(1);
    const middle = Math.floor(nv.scene.crosshairPos[2] * Z);
    const slabs = slabsOf(Z, X * Y * image.img!.BYTES_PER_ELEMENT, Math.max(0, Math.min(Z - 1, middle)));
    for (const [k, [from, to]] of slabs.entries()) {
      if (k > 0) {
        await nextFrame();
        // Meanwhile another scan or another window was asked for.
        if (turn !== this.#turn) return;
      }
      if (!this.#uploaded.has(from)) this.#upload(image, from, to);
      this.#draw(image, from, to);
    }
    if (slabs.length > 1) nv.drawScene();
  }

  #make(image: NVImage): void {
    const nv = this.#nv;
    const { gl } = nv;
    const dims = image.dimsRAS!;
    const size = [dims[1], dims[2], dims[3]] as const;
    gl.deleteTexture(this.#voxels);
    this.#voxels = gl.createTexture();
    this.#source = image.img;
    this.#uploaded.clear();
    gl.activeTexture(VOXELS);
    gl.bindTexture(gl.TEXTURE_3D, this.#voxels);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_3D, filter, gl.NEAREST);
    }
    for (const wrap of [gl.TEXTURE_WRAP_R, gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_3D, wrap, gl.CLAMP_TO_EDGE);
    }
    gl.texStorage3D(gl.TEXTURE_3D, 1, this.#format(image).internal, ...size);
    nv.volumeTexture = Object.getPrototypeOf(nv).rgbaTex.call(nv, nv.volumeTexture, SCAN, dims, false);
  }

  #format(image: NVImage): { internal: number; format: number; type: number } {
    const { gl } = this.#nv;
    if (image.img instanceof Uint8Array) return { internal: gl.R8UI, format: gl.RED_INTEGER, type: gl.UNSIGNED_BYTE };
    if (image.img instanceof Int16Array) return { internal: gl.R16I, format: gl.RED_INTEGER, type: gl.SHORT };
    return { internal: gl.R32F, format: gl.RED, type: gl.FLOAT };
  }

  #upload(image: NVImage, from: number, to: number): void {
    const { gl } = this.#nv;
    const [X, Y] = image.dimsRAS!.slice(1);
    const { format, type } = this.#format(image);
    gl.activeTexture(VOXELS);
    gl.bindTexture(gl.TEXTURE_3D, this.#voxels);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const extent = [X, Y, to - from + 1] as const;
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, from, ...extent, format, type, image.img as ArrayBufferView, X * Y * from);
    this.#uploaded.add(from);
  }

  /** Lets NiiVue draw slices of its texture, and nothing else of what it would upload and draw. */
  #draw(image: NVImage, from: number, to: number): void {
    const nv = this.#nv;
    const { gl } = nv;
    let isWanted = false;
    const own: Partial<WebGL2RenderingContext> = {
      texStorage3D: (...args) => args[3] * args[4] * args[5] <= TINY && prototype.texStorage3D.apply(gl, args),
      texSubImage3D: () => undefined,
      framebufferTextureLayer: (...args) => {
        isWanted = args[2] === nv.volumeTexture && args[4] >= from && args[4] <= to;
        if (isWanted) prototype.framebufferTextureLayer.apply(gl, args);
      },
      drawArrays: (...args) => {
        if (!isWanted) return;
        gl.activeTexture(VOXELS);
        gl.bindTexture(gl.TEXTURE_3D, this.#voxels);
        prototype.drawArrays.apply(gl, args);
      },
    };
    Object.assign(gl, own);
    try {
      this.#refresh.call(nv, image, 0);
    } finally {
      for (const name of Object.keys(own)) Reflect.deleteProperty(gl, name);
    }
  }
}
