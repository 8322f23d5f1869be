/** Uniform 32-bit numbers that depend on the seed alone. */
export function mulberry32(seed: number): () => number;
