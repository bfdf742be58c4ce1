/** WebGPU's flags by the numbers of its specification: not every host has them as globals. */
export const bufferUsage = {
  MAP_READ: 0x1,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  QUERY_RESOLVE: 0x200,
} as const;
export const mapMode = { READ: 0x1 } as const;
