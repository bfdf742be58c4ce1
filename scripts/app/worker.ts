// The worker of the page: all computation, and all reading and writing of files.
import type { Call, FromWorker, ToWorker } from "./protocol.ts";
import { tasks } from "./tasks/all.ts";

const running = new Map<number, AbortController>();

// Checked as a page, which has no types of workers.
const scope = self as unknown as {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  onmessage: (event: MessageEvent<ToWorker>) => void;
};

scope.onmessage = ({ data }) => {
  if ("stop" in data) return running.get(data.stop)?.abort();
  void run(data);
};

async function run({ id, room, name, input }: Call): Promise<void> {
  const stop = new AbortController();
  running.set(id, stop);
  const work = { signal: stop.signal, tell: (event: unknown) => scope.postMessage({ id, event }) };
  try {
    const module = await tasks[room as keyof typeof tasks]() as unknown as Record<
      string,
      (input: unknown, work: unknown) => unknown
    >;
    const result = await module[name](input, work);
    scope.postMessage({ id, result }, [...buffersOf(result)]);
  } catch (error) {
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    scope.postMessage({ id, error: { name, message, stack, aborted: stop.signal.aborted } });
  } finally {
    running.delete(id);
  }
}

/** The memory of the arrays in a result, which moves to the page. */
function buffersOf(value: unknown, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
  if (ArrayBuffer.isView(value)) found.add(value.buffer as ArrayBuffer);
  else if (Array.isArray(value) || (value !== null && typeof value === "object" && value.constructor === Object)) {
    for (const each of Object.values(value)) buffersOf(each, found);
  }
  return found;
}
