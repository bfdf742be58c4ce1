/** The Deno APIs that deno.ts and deno_gpu.ts use beyond those shared with Node and web pages. */
declare namespace Deno {
  /** Loads a shared library; `functions` declares the symbols that can be called. */
  function dlopen(path: string, functions: Readonly<Record<string, never>>): { close(): void };
}
