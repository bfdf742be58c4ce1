/** The functions that fused kernels may call, each written once with those that it needs. */
import { mathFunctions } from "./math.wgsl.ts";
import { randomFunctions } from "./random.wgsl.ts";

const library: Record<string, { readonly source: string; readonly needs?: readonly string[] }> = { ...mathFunctions, ...randomFunctions };

/** WGSL of the named functions and of what they call, callees first. */
export function librarySource(names: Iterable<string>): string {
  const order = new Set<string>();
  const visit = (name: string): void => {
    if (order.has(name)) return;
    const entry = library[name];
    if (!entry) throw new Error(`No WGSL function is called ${name}`);
    entry.needs?.forEach(visit);
    order.add(name);
  };
  for (const name of [...names].sort()) visit(name);
  return [...order].map((name) => library[name]!.source).join("\n");
}
