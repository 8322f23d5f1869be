import { type GranuleError, invalid } from "./errors.js";
import { nearest } from "./suggest.js";

/** What an option may be, beside undefined; `"any"` is checked by whoever uses it. */
export type OptionKind = "boolean" | "number" | "address" | "object" | "function" | "any";

/** The names that an options object may have. */
export type OptionKinds<T> = { readonly [name in keyof Required<T>]: OptionKind };

function fits(value: unknown, kind: OptionKind): boolean {
  if (kind === "any" || value === undefined) return true;
  if (kind === "address") return typeof value === "number" || typeof value === "bigint";
  return kind === "object" ? typeof value === "object" && value !== null : typeof value === kind;
}

/** Says that a name does not exist, which one was meant, if that can be told, and which there are. */
export function unknownText(what: string, name: string, names: readonly string[]): string {
  const meant = nearest(name, names);
  const question = meant === undefined ? ":" : `, did you mean ${meant}?`;
  const written = name.length > 40 ? `${name.slice(0, 40)}...` : name;
  return `unknown ${what} ${written}${question} the ${what}s are ${names.join(", ")}`;
}

/** EINVAL for a name that does not exist. */
export function unknownName(operation: string, what: string, name: string, names: readonly string[]): GranuleError {
  return invalid(operation, unknownText(what, name, names));
}

/** The options, when every one is known and of its kind: EINVAL names the first that is not. */
export function checkOptions<T extends object>(operation: string, options: T, kinds: OptionKinds<T>): T {
  if (typeof options !== "object" || options === null) {
    throw invalid(operation, `the options are ${describe(options)}: give an object, or nothing`);
  }
  for (const name in options) {
    const kind: OptionKind | undefined = Object.hasOwn(kinds, name) ? kinds[name as keyof T] : undefined;
    if (kind === undefined) {
      throw unknownName(operation, "option", name, Object.keys(kinds));
    }
    const value: unknown = options[name];
    if (!fits(value, kind)) throw invalid(operation, `the option ${name} is ${describe(value)}: give ${NEEDED[kind]}`);
  }
  return options;
}

const NEEDED: Readonly<Record<OptionKind, string>> = {
  boolean: "true or false",
  number: "a number",
  address: "a bigint or a safe integer",
  object: "an object",
  function: "a function",
  any: "something else",
};

/** A value in a message: short, and without calling anything of the caller's. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/** One of a few words; EINVAL for another. */
export function checkChoice<T>(operation: string, name: string, value: T, choices: readonly T[]): T {
  if (choices.includes(value)) return value;
  const words = choices.filter((choice) => choice !== undefined).map(String);
  const meant = typeof value === "string" ? nearest(value, words) : undefined;
  const question = meant === undefined ? "" : `, did you mean ${meant}?`;
  throw invalid(
    operation,
    `${name} is ${describe(value)}${question === "" ? ":" : question} one of ${words.join(", ")}`,
  );
}

/** An unsigned 32-bit integer, as pointers and handles are; EINVAL for anything else, a bigint too. */
export function checkWord(operation: string, name: string, value: number): number {
  if (typeof value === "number" && value >>> 0 === value) return value;
  throw invalid(operation, `${name} is ${describe(value)}: a whole number below 2^32`);
}

/** A function of the caller's; EINVAL for anything else. */
export function checkFunction<T>(operation: string, name: string, value: T): T {
  if (typeof value === "function") return value;
  throw invalid(operation, `${name} is ${describe(value)}, no function`);
}

/**
 * What a function of the caller's returned, which the core waits for: a promise cannot be waited for and is refused. Its own
 * rejection is taken care of, so that it does not end the process.
 */
export function checkNow<T>(operation: string, value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (typeof (value as { then?: unknown }).then === "function") {
    Promise.resolve(value).catch(() => {});
    throw invalid(operation, "the function is asynchronous: the walk cannot wait for its promise");
  }
  return value;
}
