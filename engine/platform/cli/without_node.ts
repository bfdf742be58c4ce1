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
    onResolve(
      { filter: /^node:crypto$/ },
      ({ importer, path }) => /[\\/]@nats-io[\\/]/.test(importer) ? { path, namespace: "without-node" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "without-node" }, () => ({ contents: "" }));
  },
};

/** Decoders of Zarr, a format that the viewer would read by itself and is never given. */
export const withoutZarr: Plugin = {
  name: "without zarr",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^numcodecs\// }, ({ path }) => ({ path, namespace: "without-zarr" }));
    onLoad({ filter: /.*/, namespace: "without-zarr" }, () => ({ contents: "export default undefined" }));
  },
};
