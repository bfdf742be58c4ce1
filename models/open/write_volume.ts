/** How volumes are written: a module of its own. */
export { writeVolume } from "../../engine/imaging/formats/write_volume.ts";
