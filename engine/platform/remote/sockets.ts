/** Sockets of ZeroMQ, by a package that only those install who train on several ranks. */
import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import { setTimeout } from "node:timers/promises";
import { missing } from "../optional_packages.mjs";
import { PlatformError } from "../types.ts";

/** See Platform.openSockets. */
export async function openSockets(): Promise<object> {
  try {
    const { Pull, Push } = await import("zeromq");
    return { Pull, Push, bindable, hostThatReaches };
  } catch (error) {
    throw new PlatformError("no-package", missing("ranks talk through", "zeromq"), undefined, error);
  }
}

/** The parts of tcp://HOST:PORT. */
function parts(at: string): { host: string; port: string } {
  const [, host, port] = /^tcp:\/\/\[?([^\]]+?)\]?:(\d+|\*)$/.exec(at) ?? [];
  if (host === undefined) {
    throw new PlatformError("invalid-argument", `${at} is no address: write it as tcp://HOST:5555`);
  }
  return { host, port };
}

/** The address with the number of its host, for a socket binds no names. */
async function bindable(at: string): Promise<string> {
  const { host, port } = parts(at);
  if (host === "*") return at;
  const { address, family } = await lookup(host);
  return `tcp://${family === 6 ? `[${address}]` : address}:${port}`;
}

/** The address of this machine on the network of another one's; waits until something listens there. */
async function hostThatReaches(at: string): Promise<string> {
  const { host, port } = parts(at);
  for (;;) {
    const found = await new Promise<string | undefined>((resolve) => {
      const socket = connect(Number(port), host, () => {
        const { localAddress, remoteFamily } = socket;
        resolve(remoteFamily === "IPv6" ? `[${localAddress}]` : localAddress);
        socket.destroy();
      }).on("error", () => resolve(undefined));
    });
    if (found !== undefined) return found;
    await setTimeout(500);
  }
}
