/** Type of this package's files: "ts" in a clone, which runs its sources, "js" in dist/, which is published. */
export const ownType: "ts" | "js" = import.meta.url.endsWith(".ts") ? "ts" : "js";

/** The folder with package.json. */
export const packageRoot: URL = new URL(ownType === "ts" ? "../../" : "../../../", import.meta.url);
