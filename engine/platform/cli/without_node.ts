// For bundles of pages.
import type { Plugin } from "esbuild";

/** Modules of Node, which the packages ask for where they see Node. */
export const withoutNode: Plugin = {
  name: "without node",
  setup({ onLoad, onResolve }) {
    onResolve(
      { filter: /^(fs|path)$/ },
      ({ importer, path }) =>
        /[\\/]@cornerstonejs[\\/]codec-/.test(importer) ? { path, namespace: "without-node" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "without-node" }, () => ({ contents: "" }));
  },
};
