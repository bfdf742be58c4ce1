/** An engine of the comparison with the peers. Run by main.ts: child.ts ENGINE. */
import type { Engine } from "./item.ts";
import { items } from "./items.ts";
import { serve } from "./serve.ts";

const { engine } = (await import(`./engine_${process.argv[2]}.ts`)) as { engine: Engine };
await serve(engine, items);
process.exit(0);
