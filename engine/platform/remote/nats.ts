/** Connections to a server of NATS, by packages that only those install who use one. */
import { installCommand } from "../optional_packages.mjs";
import { PlatformError } from "../types.ts";

const PACKAGES = ["@nats-io/transport-node", "@nats-io/jetstream", "@nats-io/kv", "@nats-io/obj"] as const;

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

/** See Platform.openNats. A connection that was lost is made again for as long as it takes. */
export async function openNats(server: string, options: { readonly token?: string | undefined } = {}): Promise<object> {
  const [{ connect, wsconnect }, jetstream, kv, objects] = await packages();
  const { token } = options;
  const open = /^wss?:/.test(server) ? wsconnect : connect;
  try {
    const connection = await open({
      servers: server,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 500,
      ...(token !== undefined && token !== "" && { token }),
    });
    return { connection, jetstream, kv, objects };
  } catch (error) {
    const fix = "start it there (nats-server -js), or name another address; a server with a token wants --token";
    throw new PlatformError(
      "file-failed",
      `${server}: no server of NATS answers (${(error as Error).message}); ${fix}`,
    );
  }
}
