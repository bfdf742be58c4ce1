/** Sockets of ZeroMQ, by a package that only those install who train on several ranks. */
import { missing } from "../optional_packages.mjs";
import { PlatformError } from "../types.ts";

/** See Platform.openSockets. */
export async function openSockets(): Promise<object> {
  try {
    const { Router, Dealer } = await import("zeromq");
    return { Router, Dealer };
  } catch (error) {
    throw new PlatformError("no-package", missing("ranks talk through", "zeromq"), undefined, error);
  }
}
