// Instead of "voxgrad:nats" in the bundle of a script whose arguments name a server of NATS: a page reaches it by
// WebSocket.
import { wsconnect } from "@nats-io/nats-core";
import * as jetstream from "@nats-io/jetstream";
import * as kv from "@nats-io/kv";
import * as objects from "@nats-io/obj";
import { platform } from "../browser.ts";
import { connectNats } from "../remote/connect_nats.ts";

Object.assign(platform, {
  openNats: async (server: string, options: { readonly token?: string | undefined } = {}): Promise<object> => ({
    connection: await connectNats(wsconnect, server, options),
    jetstream,
    kv,
    objects,
  }),
});
