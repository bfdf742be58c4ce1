/** What structures are called in SNOMED CT, and in which colors they are shown. */

/** A code of a terminology: value, scheme and meaning. */
export type Code = readonly [value: string, scheme: string, meaning: string];

/** How a label is coded and shown. */
export interface SegmentCode {
  /** Segmented Property Category: what kind of thing it is. */
  readonly category?: Code;
  /** Segmented Property Type: what it is. */
  readonly type?: Code;
  /** As #rrggbb. */
  readonly color?: string;
}

const ANATOMY: Code = ["123037004", "SCT", "Anatomical Structure"];
const ALTERED: Code = ["49755003", "SCT", "Morphologically Altered Structure"];
const TISSUE: Code = ["85756007", "SCT", "Tissue"];
const SIDES: Readonly<Record<string, Code>> = {
  left: ["7771000", "SCT", "Left"],
  right: ["24028007", "SCT", "Right"],
};

const anatomy = (value: string, meaning: string, color: string): Required<SegmentCode> => ({
  ...{ category: ANATOMY, type: [value, "SCT", meaning] as const, color },
});
const altered = (value: string, meaning: string, color: string): Required<SegmentCode> => ({
  ...{ category: ALTERED, type: [value, "SCT", meaning] as const, color },
});

/** By the name of a label in lower case, without its side. */
const TABLE: Readonly<Record<string, Required<SegmentCode>>> = {
  "adrenal gland": anatomy("23451007", "Adrenal gland", "#f4d631"),
  aorta: anatomy("15825003", "Aorta", "#e06d5b"),
  bladder: anatomy("89837001", "Urinary bladder", "#deb887"),
  brain: anatomy("12738006", "Brain", "#fafa9c"),
  colon: anatomy("71854001", "Colon", "#cc8f52"),
  cyst: altered("103552005", "Cyst", "#cddcf0"),
  duodenum: anatomy("38848004", "Duodenum", "#fffddd"),
  edema: altered("79654002", "Edema", "#8ce0e4"),
  esophagus: anatomy("32849002", "Esophagus", "#d3ab8f"),
  gallbladder: anatomy("28231008", "Gallbladder", "#8bb44b"),
  heart: anatomy("80891009", "Heart", "#ce6e54"),
  "inferior vena cava": anatomy("64131007", "Inferior vena cava", "#0097ce"),
  kidney: anatomy("64033007", "Kidney", "#b9665f"),
  lesion: altered("52988006", "Lesion", "#90ee90"),
  liver: anatomy("10200004", "Liver", "#dd8265"),
  lung: anatomy("39607008", "Lung", "#c5a591"),
  necrosis: altered("6574001", "Necrosis", "#d8bfd8"),
  pancreas: anatomy("15776009", "Pancreas", "#f9b46f"),
  prostate: anatomy("41216001", "Prostate", "#e6b0aa"),
  "small intestine": anatomy("30315005", "Small intestine", "#cda787"),
  "spinal cord": anatomy("2748008", "Spinal cord", "#f5f5dc"),
  spleen: anatomy("78961009", "Spleen", "#9d6ca2"),
  stomach: anatomy("69695003", "Stomach", "#d8847f"),
  trachea: anatomy("44567001", "Trachea", "#b6e4ff"),
  tumor: altered("108369006", "Neoplasm", "#90ee90"),
};
const ALIASES: Readonly<Record<string, string>> = {
  ...{
    "adrenal": "adrenal gland",
    "urinary bladder": "bladder",
    ivc: "inferior vena cava",
    postcava: "inferior vena cava",
  },
  ...{ cancer: "tumor", tumour: "tumor", neoplasm: "tumor", oesophagus: "esophagus", kidneys: "kidney", lungs: "lung" },
};

/** Colors of labels without one, in turn. */
const COLORS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c", "#fabebe"];

/** How a label is coded: by the user's table, else by the one here, else as a tissue in a color of its own. */
export function codeOf(
  name: string,
  value: number,
  own: Readonly<Record<string, SegmentCode>> = {},
): Required<SegmentCode> & { side?: Code } {
  const given = Object.hasOwn(own, name) ? own[name] : {};
  const words = name.toLowerCase().split(/[\s_-]+/);
  const side = words.find((word) => Object.hasOwn(SIDES, word));
  const bare = words.filter((word) => word !== side && word !== "").join(" ");
  const key = Object.hasOwn(ALIASES, bare) ? ALIASES[bare] : bare;
  const known = Object.hasOwn(TABLE, key) ? TABLE[key] : undefined;
  const fallback = { category: TISSUE, type: TISSUE, color: COLORS[(value - 1) % COLORS.length] };
  return { ...(known ?? fallback), ...given, ...(known && side !== undefined && !given.type && { side: SIDES[side] }) };
}

/** Red, green and blue from 0 to 255. */
export const rgbOf = (color: string): [number, number, number] => [
  parseInt(color.slice(1, 3), 16),
  parseInt(color.slice(3, 5), 16),
  parseInt(color.slice(5, 7), 16),
];

/** A color in CIELab of white D50, as DICOM encodes it in 16 bits (PS3.3, C.10.7.1.1). */
export function cieLab(color: string): [number, number, number] {
  const [r, g, b] = rgbOf(color).map((v) => {
    const unit = v / 255;
    return unit <= 0.04045 ? unit / 12.92 : ((unit + 0.055) / 1.055) ** 2.4;
  });
  // sRGB to XYZ of D50, by Bradford's adaptation (ICC); each divided by that of white.
  const [x, y, z] = [
    (0.4360747 * r + 0.3850649 * g + 0.1430804 * b) / 0.9642,
    0.2225045 * r + 0.7168786 * g + 0.0606169 * b,
    (0.0139322 * r + 0.0971045 * g + 0.7141733 * b) / 0.8251,
  ].map((t) => (t > 216 / 24389 ? Math.cbrt(t) : (24389 / 27 * t + 16) / 116));
  const lab = [(116 * y - 16) / 100, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255];
  return lab.map((v) => Math.round(65535 * Math.min(1, Math.max(0, v)))) as [number, number, number];
}
