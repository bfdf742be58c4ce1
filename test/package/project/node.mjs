import { closeDevice } from "voxgrad";
import { run } from "./program.js";

console.log(JSON.stringify(await run()));
await closeDevice();
