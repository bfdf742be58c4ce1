import type { ConnectionOptions, NatsConnection } from "@nats-io/nats-core";
import { PlatformError } from "../types.ts";

/** Connects to a server of NATS. A connection that was lost is made again for as long as it takes. */
export async function connectNats(
  open: (options: ConnectionOptions) => Promise<NatsConnection>,
  server: string,
  { token }: { readonly token?: string | undefined },
): Promise<NatsConnection> {
  try {
    return await open({
      servers: server,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 500,
      ...(token !== undefined && token !== "" && { token }),
    });
  } catch (error) {
    const fix = "start it there (nats-server -js), or name another address; a server with a token wants --token";
    const { message } = error as Error;
    throw new PlatformError("file-failed", `${server}: no server of NATS answers${message && ` (${message})`}; ${fix}`);
  }
}
