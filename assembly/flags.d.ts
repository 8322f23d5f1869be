// Names that asc is given with --use; the sources ask for them by isDefined(), never by value.
declare const DEBUG: bool;
/** A record that the host sees: bindings/core/generate.mjs writes a TypeScript view of it. asc ignores this decorator. */
declare function view(target: unknown): void;
