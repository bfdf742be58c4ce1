/** Connections to a server of NATS, by packages that only those install who use one. */
import { installCommand } from "../optional_packages.mjs";
import { PlatformError } from "../types.ts";
import { connectNats } from "./connect_nats.ts";

export const PACKAGES = ["@nats-io/transport-node", "@nats-io/jetstream", "@nats-io/kv", "@nats-io/obj"] as const;

async function packages() {
  try {
    return await Promise.all([
      import("@nats-io/transport-node"),
      import("@nats-io/jetstream"),
      import("@nats-io/kv"),
      import("@nats-io/obj"),
    ]);
  } catch (error) {
    const message = `voxgrad reaches NATS through packages that are not installed: run ${installCommand(...PACKAGES)}`;
    throw new PlatformError("no-package", message, undefined, error);
  }
}

/** See Platform.openNats. */
export async function openNats(server: string, options: { readonly token?: string | undefined } = {}): Promise<object> {
  const [{ connect, wsconnect }, jetstream, kv, objects] = await packages();
  const connection = await connectNats(/^wss?:/.test(server) ? wsconnect : connect, server, options);
  return { connection, jetstream, kv, objects };
}
