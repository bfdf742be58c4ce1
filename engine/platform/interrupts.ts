import process from "node:process";
import { Interrupted } from "./types.ts";

/** Signals that ask a process to end, and what they add to 128 in its exit code. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

type Handler = (interrupted: Interrupted) => void;

const handlers = new Set<Handler>();
let asked: Interrupted | undefined;

function onSignal(signal: keyof typeof SIGNALS): void {
  const code = 128 + SIGNALS[signal];
  // Whoever asks twice does not want to wait.
  if (asked) process.exit(code);
  asked = new Interrupted(signal, code);
  for (const handler of [...handlers]) handler(asked);
}

/** See Platform.onInterrupt. While nothing listens, a signal ends the process as ever. */
export function onInterrupt(handler: Handler): () => void {
  if (handlers.size === 0) { for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal); }
  handlers.add(handler);
  return () => {
    if (!handlers.delete(handler) || handlers.size > 0) return;
    for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
  };
}
