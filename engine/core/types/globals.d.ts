// Globals that every host (Node, Deno, page, worker) provides. The engine is type-checked without DOM and Node types,
// so it can use only these.

interface TextDecoder {
  decode(input?: ArrayBufferView | ArrayBuffer, options?: { stream?: boolean }): string;
}
declare const TextDecoder: {
  new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder;
};

interface TextEncoder {
  encode(input?: string): Uint8Array<ArrayBuffer>;
}
declare const TextEncoder: { new (): TextEncoder };

declare const performance: { now(): number };

interface ImportMeta {
  readonly url: string;
}

declare function queueMicrotask(task: () => void): void;
declare function setTimeout(task: () => void, milliseconds?: number): unknown;
declare function clearTimeout(timer: unknown): void;
declare function structuredClone<T>(value: T): T;

interface Blob {
  readonly size: number;
  arrayBuffer(): Promise<ArrayBuffer>;
}
interface URL {
  readonly href: string;
}
declare const URL: { new (url: string, base?: string): URL };
declare function fetch(url: string): Promise<{
  readonly ok: boolean;
  readonly status: number;
  readonly statusText: string;
  arrayBuffer(): Promise<ArrayBuffer>;
}>;

interface AbortSignal extends EventTarget {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
}
declare const AbortController: { new (): { readonly signal: AbortSignal; abort(reason?: unknown): void } };

/** Of pages and their workers, and of Deno. */
declare const Worker: {
  new (url: URL, options: { type: "module" }): {
    postMessage(message: unknown, transfer: ArrayBuffer[]): void;
    addEventListener(type: string, listener: (event: { data?: unknown; message?: string }) => void): void;
    terminate(): void;
  };
} | undefined;

interface ByteStream {
  pipeThrough(through: GzipStream): ByteStream;
  getReader(): {
    read(): Promise<
      { readonly done: false; readonly value: Uint8Array } | { readonly done: true; readonly value?: undefined }
    >;
    cancel(): Promise<void>;
  };
}
// deno-lint-ignore no-empty-interface
interface GzipStream {}
declare const ReadableStream: {
  new (source: { pull(controller: { enqueue(bytes: Uint8Array): void; close(): void }): void }): ByteStream;
};
declare const DecompressionStream: { new (format: "gzip"): GzipStream } | undefined;
declare const CompressionStream: { new (format: "gzip"): GzipStream } | undefined;

// Referenced by the WebGPU types.
interface EventTarget {
  // deno-lint-ignore no-explicit-any
  addEventListener(type: string, listener: (event: any) => void, options?: unknown): void;
  // deno-lint-ignore no-explicit-any
  removeEventListener(type: string, listener: (event: any) => void, options?: unknown): void;
}
interface Event {
  readonly type: string;
}
// deno-lint-ignore no-empty-interface
interface EventInit {}
interface DOMException extends Error {}
declare const crypto: {
  getRandomValues(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer>;
  readonly subtle: {
    digest(name: "SHA-256", data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
    generateKey(
      curve: object,
      extractable: boolean,
      uses: string[],
    ): Promise<{ privateKey: object; publicKey: object }>;
    exportKey(format: "raw", key: object): Promise<ArrayBuffer>;
    importKey(
      format: "raw",
      bytes: Uint8Array<ArrayBuffer>,
      of: object | string,
      extractable: boolean,
      uses: string[],
    ): Promise<object>;
    deriveBits(of: object, key: object, bits: number): Promise<ArrayBuffer>;
    encrypt(by: object, key: object, data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
  };
};
