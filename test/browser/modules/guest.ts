// Uses the library in a page or a worker, and tells what that did to them.
import { compile, conv3d, deviceInfo, grad, ones, random, setHost, type Tensor } from "../../../engine/mod.ts";
import { config, print } from "../../../engine/train/mod.ts";

export default async function () {
  const host = globalThis as unknown as Record<string, (...args: unknown[]) => unknown>;
  const calls: string[] = [];
  const own = new Map<string, (...args: unknown[]) => unknown>();
  for (const name of ["postMessage", "dispatchEvent", "addEventListener"]) {
    own.set(name, host[name]);
    host[name] = (...args) => {
      calls.push(`${name} ${String(args[0])}`);
      return own.get(name)!.apply(globalThis, args);
    };
  }
  const keys = Reflect.ownKeys(globalThis).map(String).sort().join();
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => lines.push(line);
  try {
    const x = random.normal(random.key(1), { shape: [1, 1, 8, 8, 8] });
    const slope = compile((w: Tensor) => grad((w: Tensor) => conv3d(x, w, { padding: 1 }).square().sum())(w));
    const gradient = await (await slope(ones([2, 1, 3, 3, 3]))).data();
    const { kind } = await deviceInfo();
    const { steps } = config({ steps: 3 });
    const silent = lines.length === 0;
    print("to the console");
    const given: string[] = [];
    setHost({ log: (line) => given.push(line) });
    print("to the host");
    setHost({ log: undefined });
    const same = keys === Reflect.ownKeys(globalThis).map(String).sort().join();
    return { calls, same, silent, lines, given, steps, kind, finite: gradient.every(Number.isFinite) };
  } finally {
    console.log = log;
    for (const [name, call] of own) host[name] = call;
  }
}
