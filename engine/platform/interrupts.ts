import process from "node:process";
import { program } from "./program.ts";
import { Interrupted } from "./types.ts";

/** Termination signals and their numbers; the exit code is 128 plus the number. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

type Handler = (interrupted: Interrupted) => void;

const handlers = new Set<Handler>();
let interrupted: Interrupted | undefined;

function onSignal(signal: keyof typeof SIGNALS): void {
  const code = 128 + SIGNALS[signal];
  // A second signal exits immediately.
  if (interrupted) process.exit(code);
  interrupted = new Interrupted(signal, code);
  for (const handler of [...handlers]) handler(interrupted);
}

/** See Platform.onInterrupt. Without a listener, a signal ends the process as usual. */
export function onInterrupt(handler: Handler): () => void {
  if (!program.runs) return () => undefined;
  if (handlers.size === 0) { for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal); }
  handlers.add(handler);
  return () => {
    if (!handlers.delete(handler) || handlers.size > 0) return;
    for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
  };
}
