/** Entry of `npx voxgrad run bench/onnx/run.ts`; see main.ts. */
import { main } from "./main.ts";

await main(process.argv.slice(2));
