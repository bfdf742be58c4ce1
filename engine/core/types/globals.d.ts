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
  readonly subtle: { digest(name: "SHA-256", data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> };
};
