/** A connection to a server of NATS, with the packages that use it. */
import { platform } from "#platform";
import type * as jetstream from "@nats-io/jetstream";
import type * as kv from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import type * as objects from "@nats-io/obj";
import { ConfigError } from "./config.ts";

export interface Nats {
  readonly connection: NatsConnection;
  readonly jetstream: typeof jetstream;
  readonly kv: typeof kv;
  readonly objects: typeof objects;
}

/** See Platform.openNats. */
export async function openNats(server: string, token?: string): Promise<Nats> {
  if (!platform.openNats) {
    const how = "name its address when the page is served: npx voxgrad serve federate client --nats wss://HOST";
    throw new ConfigError(`${server}: a page reaches no server of NATS but by WebSocket; ${how}`);
  }
  return await platform.openNats(server, { token }) as Nats;
}
