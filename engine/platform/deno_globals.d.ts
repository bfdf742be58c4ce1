/** What of Deno deno.ts and deno_gpu.ts use beyond what it shares with Node and with pages. */
declare namespace Deno {
  /** Loads a shared library; `functions` says which of it can be called. */
  function dlopen(path: string, functions: Readonly<Record<string, never>>): { close(): void };
}
