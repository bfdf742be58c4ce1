/** Counter-based random numbers: the same key gives the same numbers, independent of earlier draws. */
export { foldIn, key, split } from "./keys.ts";
export { bernoulli, bits32, normal, uniform } from "./draws.ts";
export { permutation } from "./permutation.ts";
export { categorical, gamma, gumbel, randint, truncatedNormal } from "./distributions.ts";
