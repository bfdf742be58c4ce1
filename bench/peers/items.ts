/** Every row of the table, in its order. */
import { convolutions } from "./items_conv.ts";
import type { Item } from "./item.ts";
import { fields } from "./items_field.ts";
import { norms } from "./items_norm.ts";
import { products } from "./items_product.ts";
import { networks } from "./items_unet.ts";

export const items: readonly Item[] = [...products, ...convolutions, ...norms, ...fields, ...networks];
