/** Parameters that outlive a device: kept on the host, and put on whichever device is open. */
import { check, fail } from "../../core/errors.ts";
import { Tensor } from "../../core/tensor.ts";
import { map } from "../../core/tree.ts";
import { type Device, device as openDevice, DeviceLostError, upload } from "../../gpu/mod.ts";

/** What is built on parameters. */
export interface Built {
  /** Frees what it holds on the device. */
  dispose(): void;
}

/** Something built on parameters that outlives a device; made by `resident`. */
export class Resident<P, R extends Built> {
  readonly #what: string;
  #params: P | undefined;
  readonly #build: (params: P) => R;
  #made: { readonly device: Device; readonly value: R; readonly tensors: readonly Tensor[] } | undefined;
  #users = 0;

  constructor(what: string, params: P, build: (params: P) => R) {
    this.#what = what;
    this.#params = params;
    this.#build = build;
  }

  /**
   * Does some work with what is built on the parameters, which are put on the device by the first of several calls. If
   * the device is lost meanwhile, the work is done once more on the next one.
   *
   * @throws VoxgradError after `dispose`; DeviceLostError if the next device is lost too; what `work` throws
   */
  async use<T>(work: (built: R) => Promise<T>): Promise<T> {
    this.check();
    this.#users++;
    try {
      for (let again = false;; again = true) {
        try {
          return await work(this.#on(await presentDevice()));
        } catch (error) {
          if (again || !(error instanceof DeviceLostError)) throw error;
        }
      }
    } finally {
      if (--this.#users === 0 && this.#params === undefined) this.#free();
    }
  }

  /** Throws after `dispose`. */
  check(): void {
    check(this.#params !== undefined, this.#what, () => "it was disposed of; open it again");
  }

  /** Frees the memory on the device, once work under way has ended, and the parameters. */
  dispose(): void {
    this.#params = undefined;
    if (this.#users === 0) this.#free();
  }

  #on(device: Device): R {
    this.check();
    if (this.#made?.device === device && !device.gone) return this.#made.value;
    this.#free();
    const tensors: Tensor[] = [];
    try {
      const params = map<P, Tensor>(this.#params as P, (leaf) => {
        tensors.push(uploaded(device, leaf, this.#what));
        return tensors.at(-1)!;
      }) as P;
      this.#made = { device, value: this.#build(params), tensors };
    } catch (error) {
      for (const each of tensors) each.dispose();
      throw error;
    }
    return this.#made.value;
  }

  #free(): void {
    this.#made?.value.dispose();
    for (const each of this.#made?.tensors ?? []) each.dispose();
    this.#made = undefined;
  }
}

/** The device, or the next one where it is lost between opening and use. */
async function presentDevice(): Promise<Device> {
  let device = await openDevice();
  while (device.gone) device = await openDevice();
  return device;
}

function uploaded(device: Device, leaf: unknown, what: string): Tensor {
  if (!(leaf instanceof Tensor) || leaf.source.kind !== "host") {
    return fail(what, `parameters are tensors with values on the host, as of a file, got ${leaf}`);
  }
  const storage = upload(device, leaf.source.data, leaf.dtype, `${leaf}`);
  return new Tensor(leaf.shape, leaf.dtype, { kind: "device", storage });
}

/**
 * Keeps parameters on the host, and what is built on them on whichever device is open: after a lost or closed device
 * both are made again by the next use. A service that lives longer than a device needs that; `openModel` of
 * voxgrad/models does it for models.
 *
 * @param what the name of it, for messages
 * @param params tree of tensors with values on the host, such as `loadParameters` gives
 * @param build makes what uses the parameters; gets them on the device
 * @example
 * ```ts
 * import { loadParameters, random } from "voxgrad";
 * import { readVolume } from "voxgrad/imaging";
 * import { networkFromPlan } from "voxgrad/models";
 * import { loadModel, predictor, resident } from "voxgrad/train";
 *
 * const { description: { plan }, tensors } = await loadModel("runs/liver/fold_0");
 * const network = networkFromPlan(plan);
 * const params = loadParameters(network.init(random.key(0)), tensors);
 * const liver = resident("liver", params, (own) => predictor([{ network, params: [own], plan }]));
 * const scan = await readVolume("scan.nii.gz");
 * const { labels } = await liver.use(({ predict }) => predict(scan));
 * liver.dispose();
 * ```
 */
export const resident = <P, R extends Built>(what: string, params: P, build: (params: P) => R): Resident<P, R> =>
  new Resident(what, params, build);
