// A script such as a user writes, with top-level await; test/browser/serve.test.ts serves it.
import { platform } from "#platform";

const words = platform.readCommandLine();
const steps = Number(words[words.indexOf("--steps") + 1]);
const { kind } = await platform.openAdapter();
platform.log(`adapter kind ${kind}, arguments ${words.join("|")}`);
for (let step = 1; step <= steps; step++) {
  const loss = 1 / step + 0.05 * Math.sin(step);
  const text = `step ${step}/${steps}  loss ${loss.toFixed(3)}`;
  platform.progress({ done: step, total: steps, text, series: { loss, dice: 1 - loss, "dice organ": 0.9 - loss } });
}
await platform.writeFile("run/metrics.json", JSON.stringify({ dice: 0.9 }));
await platform.writeFile(
  "run/progress.svg",
  `<svg xmlns="http://www.w3.org/2000/svg" width="200" height="80"><rect width="200" height="80" fill="#dbe7ff"/></svg>`,
);
platform.log(`read back ${new TextDecoder().decode(await platform.readFile("./run/metrics.json"))}`);
platform.log(`files ${(await platform.listFiles("run")).join(", ")}`);
if (words.includes("--fail")) throw new RangeError("learning rate is NaN");
