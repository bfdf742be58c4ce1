// The decoders of compressed DICOM pixels as one module with the packages that they are of, which projects so need not
// install. It runs on every host: what those packages do in Node alone is left out.
import { build } from "esbuild";
import { withoutNode } from "../cli/without_node.ts";

/** The source that only imports these packages, in a clone. */
export const CODECS = "engine/imaging/dicom/codecs.ts";

export async function codecsModule(root: string): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [CODECS],
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    legalComments: "none",
    define: { process: "undefined", __filename: "undefined", __dirname: "undefined" },
    plugins: [withoutNode],
    logLevel: "warning",
  });
  return outputFiles[0].text;
}
