// Names that asc is given with --use; the sources ask for them by isDefined(), never by value.
declare const DEBUG: bool;
/**
 * A record that the host reads: bindings/core/generate.mjs writes a TypeScript view of it. With "writes" the host writes it too;
 * with "halves" its 64-bit fields can be had as two numbers; "inside" is for tools that look inside an engine, in a file of its own.
 * asc ignores this decorator.
 */
declare function view(...options: ("writes" | "halves" | "inside")[]): (target: unknown) => void;
declare const EXPLORE: bool;
