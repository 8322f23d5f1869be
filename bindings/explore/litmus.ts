// Protocols as litmus tests for AArch64 in the format of herd7, so that the model of the architecture itself can be asked about them.
//
// A walker is run with every value that its loads can get. That gives a tree of accesses, and the tree a program with branches.
// An access becomes the instruction that Arm code has for its order: LDR and STR relaxed or plain, LDAPR acquire, STLR release, LDAR
// and STLR sequentially consistent; SWP, CAS and LDADD with A and L; DMB ISH, and DMB ISHLD for an acquire fence. An access `after` a
// load gets its address by way of the value that was loaded. `exists` names the values with which the check finds something wrong.

import type { Order } from "./orders.js";
import { type Protocol, protocolOf, type Request, SHARED } from "./protocol.js";
import type { Scenario } from "./scenario.js";

/** Accesses of one walker, over all of its branches, at most. */
const MOST_NODES = 400;
/** Combinations of values that `exists` is computed from, at most. */
const MOST_CASES = 1 << 16;
/** Registers: values that were loaded from X0 on, addresses of words from X10 on, then two for dependencies and two for operands. */
const ADDRESSES = 10;
const MOST_LOADS = ADDRESSES;
const MOST_WORDS = 10;
const DEPENDENCY = 20;
const ADDRESS = 21;
const OPERAND = 22;
const SECOND = 23;

interface Access {
  readonly request: Request;
  /** Of the value that it gives. */
  readonly register: number;
  readonly next: ReadonlyMap<number, Node>;
}

/** What a walker does next, and for each value that this may give what comes then; or its result. */
type Node = Access | { readonly result: number | undefined };

/** What a walker loads on one way through its program, by register, and its result. */
interface Way {
  readonly loads: ReadonlyMap<number, number>;
  readonly result: number | undefined;
}

type Walker = Protocol<string>["walkers"][number];
type Domains = ReadonlyMap<string, Set<number>>;

const gives = ({ kind }: Request) => kind === "load" || kind === "atomic load" || kind === "exchange";
const identifier = (word: string) => word.replace(/[^A-Za-z0-9]/g, "_");

/** The tree of a walker, whose loads get the values of `domains`. */
function treeOf(walker: Walker, id: number, domains: Domains): Node {
  let nodes = 0;
  const extend = (values: readonly number[], register: number): Node => {
    if (++nodes > MOST_NODES || register > MOST_LOADS)
      throw new Error("too many accesses for a litmus test, or a loop");
    const live = walker(SHARED, id);
    let step = live.next();
    for (const value of values) step = live.next(value);
    if (step.done) return { result: typeof step.value === "number" ? step.value : undefined };
    const request = step.value,
      next = new Map<number, Node>();
    if (request.kind === "wait") throw new Error("a loop that waits has no litmus test");
    const own = gives(request) ? 1 : 0;
    for (const value of own ? (domains.get(request.word) ?? [0]) : [0]) {
      next.set(value, extend([...values, value], register + own));
    }
    return { request, register, next };
  };
  return extend([], 0);
}

/** Adds what the tree may store to the domains; true if that was new. */
function addStored(node: Node, domains: Domains): boolean {
  if ("result" in node) return false;
  const { request } = node,
    domain = domains.get(request.word),
    before = domain?.size ?? 0;
  if (request.next !== undefined && domain !== undefined) {
    for (const value of [...domain]) domain.add(request.next(value));
  }
  let grew = (domain?.size ?? 0) > before;
  for (const child of node.next.values()) grew = addStored(child, domains) || grew;
  return grew;
}

function treesOf({ walkers, words }: Protocol<string>): { trees: readonly Node[]; domains: Domains } {
  const domains = new Map(Object.entries(words).map(([word, value]) => [word, new Set([value])]));
  for (;;) {
    const trees = walkers.map((walker, id) => treeOf(walker, id, domains));
    if (!trees.map((tree) => addStored(tree, domains)).includes(true)) return { trees, domains };
  }
}

function waysOf(node: Node): readonly Way[] {
  if ("result" in node) return [{ loads: new Map(), result: node.result }];
  return [...node.next].flatMap(([value, child]) =>
    waysOf(child).map(({ loads, result }) => ({
      loads: gives(node.request) ? new Map([[node.register, value], ...loads]) : loads,
      result,
    })),
  );
}

/** Operands of an access: equal text, equal instructions. */
function operandsOf({ kind, next, expected }: Request): readonly number[] {
  if (kind !== "exchange" || next === undefined) return next === undefined ? [] : [next(0)];
  if (expected !== undefined) return [expected, next(expected)];
  return next(0) === next(1) ? [next(0)] : [];
}

/** A text that is the same for trees of the same accesses. */
function shapeOf(node: Node): string {
  if ("result" in node) return "";
  const { request } = node,
    { kind, word, order = "seqcst", after = [] } = request;
  const children = [...node.next].map(([value, child]) => `${value}:${shapeOf(child)}`).join();
  return `${kind} ${word} ${order} ${after} ${operandsOf(request)} ${request.next?.(1)}{${children}}`;
}

const acquires = (order: Order) => order === "acquire" || order === "acquire-release" || order === "seqcst";
const releases = (order: Order) => order === "release" || order === "acquire-release" || order === "seqcst";
const LOADS: Readonly<Record<string, string>> = { acquire: "LDAPR", seqcst: "LDAR" };

/** Writes the program of one walker. */
class Writer {
  readonly lines: string[] = [];
  readonly words: string[] = [];
  readonly #id: number;
  #labels = 0;

  constructor(id: number) {
    this.#id = id;
  }

  #at(word: string): string {
    let place = this.words.indexOf(word);
    if (place < 0) place = this.words.push(word) - 1;
    if (place >= MOST_WORDS) throw new Error("too many words for a litmus test");
    return `X${ADDRESSES + place}`;
  }

  /** Writes `node`; `held`: the register of each word's last load. */
  write(node: Node, held: ReadonlyMap<string, number>): void {
    if ("result" in node) return;
    const { request, register, next } = node;
    this.#access(request, register, held);
    const now = gives(request) ? new Map(held).set(request.word, register) : held,
      shapes = new Map<string, [values: number[], node: Node]>();
    for (const [value, child] of next) {
      const shape = shapeOf(child),
        same = shapes.get(shape);
      if (same === undefined) shapes.set(shape, [[value], child]);
      else same[0].push(value);
    }
    this.#branch([...shapes.values()], register, now);
  }

  #branch(ways: readonly [values: number[], node: Node][], register: number, held: ReadonlyMap<string, number>): void {
    const last = ways.length - 1,
      end = last > 0 ? this.#label() : "";
    for (const [i, [values, node]] of ways.entries()) {
      if (i === last) {
        this.write(node, held);
        continue;
      }
      const here = this.#label(),
        past = this.#label();
      for (const value of values) this.lines.push(`CMP W${register},#${value}`, `B.EQ ${here}`);
      this.lines.push(`B ${past}`, `${here}:`);
      this.write(node, held);
      this.lines.push(`B ${end}`, `${past}:`);
    }
    if (last > 0) this.lines.push(`${end}:`);
  }

  #label(): string {
    return `L${this.#id}${this.#labels++}`;
  }

  #access(request: Request, register: number, held: ReadonlyMap<string, number>): void {
    const { kind, order = "seqcst" } = request;
    if (kind === "fence") {
      this.lines.push(order === "acquire" ? "DMB ISHLD" : "DMB ISH");
      return;
    }
    const at = `[${this.#address(request, held)}]`,
      real = kind === "load" || kind === "store" ? "relaxed" : order;
    if (kind === "exchange") this.#exchange(request, register, at, order);
    else if (gives(request)) this.lines.push(`${LOADS[real] ?? "LDR"} W${register},${at}`);
    else
      this.lines.push(
        `MOV W${OPERAND},#${operandsOf(request)[0]}`,
        `${releases(real) ? "STLR" : "STR"} W${OPERAND},${at}`,
      );
  }

  #address({ word, after = [] }: Request, held: ReadonlyMap<string, number>): string {
    let at = this.#at(word);
    for (const other of after) {
      const from = held.get(other);
      if (from === undefined) continue;
      this.lines.push(`EOR X${DEPENDENCY},X${from},X${from}`, `ADD X${ADDRESS},${at},X${DEPENDENCY}`);
      at = `X${ADDRESS}`;
    }
    return at;
  }

  #exchange(request: Request, register: number, at: string, order: Order): void {
    const suffix = `${acquires(order) ? "A" : ""}${releases(order) ? "L" : ""}`,
      [first, second] = operandsOf(request),
      { lines } = this;
    if (second !== undefined) {
      lines.push(
        `MOV W${register},#${first}`,
        `MOV W${SECOND},#${second}`,
        `CAS${suffix} W${register},W${SECOND},${at}`,
      );
    } else if (first !== undefined) {
      lines.push(`MOV W${OPERAND},#${first}`, `SWP${suffix} W${OPERAND},W${register},${at}`);
    } else {
      const added = (request.next?.(0) ?? 0) | 0;
      if (request.next?.(5) !== 5 + added)
        throw new Error("a litmus test knows exchanges, compare-exchanges and additions");
      lines.push(`MOV W${OPERAND},#${added}`, `LDADD${suffix} W${OPERAND},W${register},${at}`);
    }
  }
}

/** The words that the check looks at, whatever it finds. */
function wordsChecked(what: Protocol<string>, ways: readonly (readonly Way[])[]): readonly string[] {
  const seen = new Set<string>(),
    words = new Proxy(what.words, {
      get: (all, word: string) => {
        seen.add(word);
        return all[word];
      },
    });
  each(
    ways,
    (case_) =>
      void what.check?.(
        words,
        case_.map(({ result }) => result),
      ),
  );
  return [...seen];
}

/** Every combination of one of each. */
function each<T>(choices: readonly (readonly T[])[], visit: (case_: readonly T[]) => void): void {
  const count = choices.reduce((product, { length }) => product * length, 1);
  if (count > MOST_CASES) throw new Error("too many outcomes for a litmus test");
  for (let n = 0; n < count; n++) {
    let rest = n;
    visit(
      choices.map((some) => {
        const one = some[rest % some.length] as T;
        rest = Math.floor(rest / some.length);
        return one;
      }),
    );
  }
}

/** One choice of each dimension: a walker's way, or a word's last value. */
type Case = readonly { readonly text: string; readonly way?: Way; readonly word?: readonly [string, number] }[];

function casesOf(what: Protocol<string>, trees: readonly Node[], domains: Domains): Case[] {
  const ways = trees.map(waysOf),
    words = wordsChecked(what, ways);
  const ofWays = ways.map((all, id) =>
      all.map((way) => ({ way, text: [...way.loads].map(([r, value]) => `${id}:X${r}=${value}`).join(" /\\ ") })),
    ),
    ofWords = words.map((word) =>
      [...(domains.get(word) ?? [])].map((value) => ({
        word: [word, value] as const,
        text: `${identifier(word)}=${value}`,
      })),
    );
  const bad: Case[] = [];
  each<Case[number]>([...ofWays, ...ofWords], (one) => {
    const left = Object.fromEntries(one.flatMap(({ word }) => (word === undefined ? [] : [word])));
    const results = one.flatMap(({ way }) => (way === undefined ? [] : [way.result]));
    if (what.check?.({ ...what.words, ...left }, results) !== undefined) bad.push(one);
  });
  return bad;
}

/** The values with which the check finds something wrong. Walkers that do not matter are left out. */
function existsOf(what: Protocol<string>, trees: readonly Node[], domains: Domains): string {
  let cases = casesOf(what, trees, domains).map((one) => one.map(({ text }) => text));
  const sizes = [
    ...trees.map((tree) => waysOf(tree).length),
    ...wordsChecked(what, trees.map(waysOf)).map((word) => domains.get(word)?.size ?? 1),
  ];
  for (const [i, size] of sizes.entries()) {
    const without = new Map<string, string[]>();
    for (const one of cases) {
      const rest = one.filter((_, at) => at !== i).join("|");
      without.set(rest, [...(without.get(rest) ?? []), one[i] as string]);
    }
    if ([...without.values()].every((all) => all.length === size))
      cases = cases.map((one) => one.map((text, at) => (at === i ? "" : text)));
    cases = [...new Map(cases.map((one) => [one.join("|"), one])).values()];
  }
  const texts = cases.map((one) => one.filter((text) => text !== "").join(" /\\ "));
  if (texts.length === 0) throw new Error("the check finds nothing wrong with any values: there is nothing to ask");
  return texts.length === 1 ? `(${texts[0]})` : `(${texts.map((text) => `(${text})`).join(" \\/\n  ")})`;
}

/**
 * A protocol as a litmus test for AArch64, in the format of herd7. Its `exists` holds where the protocol's check finds something wrong.
 *
 * @throws Error for a scenario of the core, and for a protocol that has a loop, no check, or too many branches.
 * @example
 * ```ts
 * import { litmus, scenario } from "granule/explore";
 * console.log(litmus(scenario("publish-table")).split("\n")[0]); // AArch64 publish-table
 * ```
 */
export function litmus(scenario: Scenario): string {
  const what = protocolOf(scenario);
  if (what?.check === undefined) throw new Error(`${scenario.name} is no protocol with a check`);
  const { trees, domains } = treesOf(what),
    writers = trees.map((tree, id) => {
      const writer = new Writer(id);
      writer.write(tree, new Map());
      return writer;
    });
  const addresses = writers.map(({ words }, id) =>
      words.map((word, i) => `${id}:X${ADDRESSES + i}=${identifier(word)};`).join(" "),
    ),
    values = Object.entries(what.words).map(([word, value]) => `${identifier(word)}=${value};`);
  return [
    `AArch64 ${scenario.name}`,
    `"${scenario.title.replaceAll('"', "'")}"`,
    "{",
    values.join(" "),
    ...addresses,
    "}",
    ...columnsOf(writers.map(({ lines }) => lines)),
    `exists ${existsOf(what, trees, domains)}`,
    "",
  ].join("\n");
}

/** Programs side by side. */
function columnsOf(programs: readonly (readonly string[])[]): string[] {
  const all = programs.map((lines, id) => [`P${id}`, ...lines]),
    rows = Math.max(...all.map(({ length }) => length)),
    widths = all.map((lines) => Math.max(...lines.map(({ length }) => length)));
  return Array.from(
    { length: rows },
    (_, row) => ` ${all.map((lines, id) => (lines[row] ?? "").padEnd(widths[id] as number)).join(" | ")} ;`,
  );
}
