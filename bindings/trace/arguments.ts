/** Arguments of a probe, each in its slot. */
export const ARGUMENTS = [
  "pgt",
  "mmu",
  "ipa",
  "size",
  "phys",
  "prot",
  "flags",
  "level",
  "pages",
  "mkold",
  "force_pte",
  "ret",
  "young",
] as const;
type Argument = (typeof ARGUMENTS)[number];

/** The slots by name: as forms ask for the arguments. */
export const ARG = Object.fromEntries(ARGUMENTS.map((name, slot) => [name, slot])) as Readonly<
  Record<Argument, number>
>;
