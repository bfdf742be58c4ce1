// How long a vector of gradients takes from one socket to another of this process, by ZeroMQ and by a server of NATS:
// node --import ./engine/platform/cli/register.mjs bench/machines/messages.ts --nats nats://127.0.0.1:4222
import { connect } from "@nats-io/transport-node";
import { Dealer, Router } from "zeromq";
import { config, entry } from "../../engine/train/mod.ts";

const { nats, megabytes } = config({
  nats: entry("nats://127.0.0.1:4222", "server"),
  megabytes: entry(124, "size of the vector: 31 M parameters of f32", { min: 1 }),
});
const bytes = new Uint8Array(megabytes * 1e6);
/** Bytes of a message of NATS: what a server takes unless it is told. */
const CHUNK = 1e6;

async function byZeroMq(): Promise<number> {
  const [router, dealer] = [new Router(), new Dealer()];
  await router.bind("tcp://127.0.0.1:*");
  dealer.connect(router.lastEndpoint!);
  const begin = performance.now();
  await dealer.send(bytes);
  await router.receive();
  const seconds = (performance.now() - begin) / 1000;
  router.close();
  dealer.close();
  return seconds;
}

async function byNats(): Promise<number> {
  const [from, to] = [await connect({ servers: nats }), await connect({ servers: nats })];
  const subscription = to.subscribe("voxgrad.messages");
  await to.flush();
  const begin = performance.now();
  const received = (async () => {
    let got = 0;
    for await (const { data } of subscription) if ((got += data.length) >= bytes.length) break;
  })();
  for (let at = 0, k = 0; at < bytes.length; at += CHUNK, k++) {
    from.publish("voxgrad.messages", bytes.subarray(at, at + CHUNK));
    if (k % 8 === 7) await from.flush();
  }
  await from.flush();
  await received;
  const seconds = (performance.now() - begin) / 1000;
  await Promise.all([from.close(), to.close()]);
  return seconds;
}

for (const [name, measure] of [["ZeroMQ", byZeroMq], ["NATS", byNats]] as const) {
  const times: number[] = [];
  for (let k = 0; k < 5; k++) times.push(await measure());
  console.log(`${name}: ${megabytes} MB in ${times.sort((a, b) => a - b)[2].toFixed(2)} s, median of 5`);
}
