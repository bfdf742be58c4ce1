/** Messages of a federation by NATS: small ones as JSON, vectors through the object store. */
import { platform } from "#platform";
import { sha256 } from "../../core/digest.ts";
import { VoxgradError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { type Nats, openNats } from "../run/nats.ts";

/** Any message; its fields are checked by who reads it. */
export type Message = Readonly<Record<string, unknown>> & { readonly type: string };

const encode = (message: object): Uint8Array => new TextEncoder().encode(JSON.stringify(message));
const decode = (bytes: Uint8Array): Message => JSON.parse(new TextDecoder().decode(bytes));

/** Milliseconds for which a site waits for a server that does not answer. */
const PATIENCE = 120_000;

export class Channel {
  readonly #nats: Nats;
  readonly #name: string;
  readonly #files;

  private constructor(
    nats: Nats,
    name: string,
    files: Awaited<ReturnType<InstanceType<Nats["objects"]["Objm"]>["create"]>>,
  ) {
    this.#nats = nats;
    this.#name = name;
    this.#files = files;
  }

  /** @param name of the federation: letters, digits, - and _ */
  static async open(server: string, name: string, token?: string): Promise<Channel> {
    if (!/^[\w-]+$/.test(name)) throw new VoxgradError(`--name ${name}: letters, digits, - and _ make a name`);
    const nats = await openNats(server, token);
    const js = nats.jetstream.jetstream(nats.connection);
    return new Channel(nats, name, await new nats.objects.Objm(js).create(`voxgrad_federation_${name}`));
  }

  /** Calls `take` with each message to one side; what it returns answers a request. */
  listen(side: "server" | "sites", take: (message: Message) => Promise<object | void>): void {
    this.#nats.connection.subscribe(`voxgrad.federation.${this.#name}.${side}`, {
      callback: (_, message) => {
        void take(decode(message.data)).catch((error) => ({ refused: (error as Error).message })).then((answer) =>
          answer && message.respond(encode(answer))
        );
      },
    });
  }

  /** Tells all sites. */
  tell(message: Message): void {
    this.#nats.connection.publish(`voxgrad.federation.${this.#name}.sites`, encode(message));
  }

  /** Asks the server. Throws VoxgradError where it refuses. */
  async ask(message: Message): Promise<Message> {
    const subject = `voxgrad.federation.${this.#name}.server`;
    let answer: Message | undefined;
    for (const end = performance.now() + PATIENCE; !answer;) {
      try {
        answer = decode((await this.#nats.connection.request(subject, encode(message), { timeout: 20_000 })).data);
      } catch (error) {
        const why = (error as Error).message;
        if (performance.now() > end) {
          throw new VoxgradError(`federation ${this.#name}: no server answers (${why}); start it`);
        }
        await new Promise<void>((resolve) => void setTimeout(resolve, 500));
      }
    }
    if (typeof answer.refused === "string") throw new VoxgradError(`The server refused: ${answer.refused}`);
    return answer;
  }

  /** Stores a vector; returns its digest. */
  async put(name: string, values: Float32Array | Uint32Array): Promise<string> {
    const bytes = new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
    await this.#files.putBlob({ name }, bytes);
    return sha256(Uint8Array.from(bytes));
  }

  /** The bytes of a vector, which must have the digest. */
  async get(name: string, digest: string): Promise<ArrayBuffer> {
    const bytes = await this.#files.getBlob(name);
    const own = bytes && Uint8Array.from(bytes);
    if (!own || (await sha256(own)) !== digest) {
      throw new VoxgradError(`${name}: its bytes are not those that were told`);
    }
    return own.buffer;
  }

  forget(name: string): Promise<unknown> {
    return this.#files.delete(name).catch(() => undefined);
  }

  close(): Promise<void> {
    return this.#nats.connection.drain();
  }
}

/**
 * Opens the messages of a federation.
 *
 * @param server address of a server of NATS with JetStream
 * @param name of the federation
 * @param token of the server; default: VOXGRAD_NATS_TOKEN of the environment
 * @throws VoxgradError for a name that is none; PlatformError if the server does not answer or refuses the token
 * @example
 * ```ts
 * import { openChannel } from "voxgrad/train";
 *
 * const open = () => openChannel("nats://127.0.0.1:4222", "abdomen");
 * ```
 */
export const openChannel = (server: string, name: string, token = ""): Promise<Channel> =>
  Channel.open(server, name, token || platform.environment?.("VOXGRAD_NATS_TOKEN"));

/**
 * Digest of the names and shapes of weights, by which sites and server know that they train the same network.
 *
 * @example
 * ```ts
 * import { zeros } from "voxgrad";
 * import { shapesDigest } from "voxgrad/train";
 *
 * await shapesDigest({ weight: zeros([2, 3]) }); // 64 hexadecimal digits
 * ```
 */
export const shapesDigest = (params: object): Promise<string> =>
  sha256(JSON.stringify([...tree.flatten(params) as Map<string, Tensor>].map(([name, { shape }]) => [name, shape])));
