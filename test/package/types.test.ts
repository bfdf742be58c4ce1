/** The declarations of the installed package, checked whole in a strict project. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { command, install, project, run, versions } from "./harness.ts";

const source = `import { grad, tensor, type Tensor } from "voxgrad";
import { readNifti, type Volume } from "voxgrad/imaging";
import { plainConvUNet } from "voxgrad/models";
import { adam } from "voxgrad/nn";
import { train } from "voxgrad/train";
import { readNifti as sameRead } from "voxgrad/browser";

const loss = (x: Tensor): Tensor => x.square().sum();
export const slope: Promise<number> = grad(loss)(tensor([1, 2])).sum().item();
export const volume: Volume = readNifti(new Uint8Array(352));
// @ts-expect-error: a tensor has no such method.
tensor([1]).nothing();
// @ts-expect-error: a volume is no tensor.
loss(volume);
export const same: typeof sameRead = readNifti;
export const device: GPUDevice | undefined = undefined;
export { adam, plainConvUNet, train };
`;

const modules = { nodenext: "nodenext", bundler: "esnext" };
const place = await project([], { "use.ts": source });

for (const version of ["5.9.3", versions.typescript]) {
  const compiler = command(await install([`typescript@${version}`]), "tsc");
  for (const [moduleResolution, module] of Object.entries(modules)) {
    test(`TypeScript ${version} finds no error in use and declarations, ${moduleResolution}`, async () => {
      const compilerOptions = {
        target: "es2022",
        lib: ["es2022", "dom"],
        module,
        moduleResolution,
        strict: true,
        skipLibCheck: false,
        noEmit: true,
        types: [],
      };
      await writeFile(join(place, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["use.ts"] }));
      const { code, output } = await run(compiler, ["-p", "."], place);
      assert.is(output, "");
      assert.is(code, 0);
    });
  }
}

test.run();
