// What the site does to Markdown that also has to read well in the repository and in the package.

import { readdirSync, readFileSync } from "node:fs";

interface Token {
  type: string;
  content: string;
  children: Token[] | null;
  attrGet(name: string): string | null;
  attrSet(name: string, value: string): void;
}
interface State {
  tokens: Token[];
  Token: new (type: string, tag: string, nesting: -1 | 0 | 1) => Token;
  env: { relativePath?: string };
}
interface Markdown {
  core: { ruler: { push(name: string, rule: (state: State) => void): void } };
}

const SPEC = new URL("../spec/", import.meta.url);
const ID = "[A-Z][A-Z0-9]{1,4}-\\d+[a-z]?";
const DEFINITION = new RegExp(`^(?:- \\*\\*|\\| )\\[(${ID})\\]`, "gm");

/** Which page of docs/spec defines a statement. */
const pages: ReadonlyMap<string, string> = new Map(
  readdirSync(SPEC).flatMap((name) => {
    const text = readFileSync(new URL(name, SPEC), "utf8");
    return [...text.matchAll(DEFINITION)].map(([, id]) => [id as string, name.replace(/\.md$/, "")] as const);
  }),
);

/** Links to sources lead into the package. The site holds no sources, so there only their words stay. */
export function plainSourceLinks(md: Markdown): void {
  md.core.ruler.push("plain-source-links", ({ tokens }) => {
    for (const { children } of tokens) {
      if (children === null) continue;
      let outside = false;
      for (const token of children) {
        if (token.type === "link_open") {
          outside = /^(?:\.\.\/)+(?:assembly|bindings|test|bench|examples)\b/.test(token.attrGet("href") ?? "");
        }
        if (!outside || !token.type.startsWith("link_")) continue;
        const closes = token.type === "link_close";
        token.type = "html_inline";
        token.content = closes ? "</code>" : "<code>";
        if (closes) outside = false;
      }
    }
  });
}

/** A folder's README.md is its index.html. Documents of the repository's root name docs/, which is the site's root. */
export function folderLinks(md: Markdown): void {
  md.core.ruler.push("folder-links", ({ tokens }) => {
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.type === "link_open" ? token.attrGet("href") : null;
      if (href !== null && !/^https?:/.test(href))
        token.attrSet("href", href.replace(/\bREADME\.md\b/, "index.md").replace(/^docs\//, "./"));
    }
  });
}

/** The inline tokens of a document that are no part of a link. */
function* texts(tokens: Token[]): Generator<{ parent: Token; at: number }> {
  for (const parent of tokens) {
    let depth = 0;
    for (let at = 0; at < (parent.children?.length ?? 0); at++) {
      const token = parent.children?.[at] as Token;
      if (token.type === "link_open") depth++;
      else if (token.type === "link_close") depth--;
      else if (token.type === "text" && depth === 0) yield { parent, at };
    }
  }
}

function html(state: State, content: string): Token {
  const token = new state.Token("html_inline", "", 0);
  token.content = content;
  return token;
}

/** Replaces `pattern` in texts by pieces of HTML; the rest stays text. */
function replace(state: State, pattern: RegExp, piece: (match: RegExpExecArray) => string | undefined): void {
  for (const parent of state.tokens) {
    if (parent.children === null) continue;
    const inside = new Set([...texts([parent])].map(({ at }) => parent.children?.[at]));
    parent.children = parent.children.flatMap((token) => {
      if (!inside.has(token)) return [token];
      const out: Token[] = [];
      let from = 0;
      for (const match of token.content.matchAll(pattern)) {
        const made = piece(match);
        if (made === undefined) continue;
        const before = new state.Token("text", "", 0);
        before.content = token.content.slice(from, match.index);
        out.push(before, html(state, made));
        from = match.index + match[0].length;
      }
      const rest = new state.Token("text", "", 0);
      rest.content = token.content.slice(from);
      return [...out, rest];
    });
  }
}

const isSpec = ({ env }: State) => env.relativePath?.startsWith("spec/") ?? false;

/** A statement's place has its id as an anchor. */
export function statementAnchors(md: Markdown): void {
  md.core.ruler.push("statement-anchors", (state) => {
    if (!isSpec(state)) return;
    const defined = new Set<string>();
    replace(state, new RegExp(`\\[(${ID})\\]`, "g"), ([whole, id]) => {
      if (id === undefined || defined.has(id) || !whole.startsWith("[")) return undefined;
      if (pages.get(id) !== state.env.relativePath?.slice("spec/".length).replace(/\.md$/, "")) return undefined;
      defined.add(id);
      return `<a id="${id}" class="statement" href="#${id}">[${id}]</a>`;
    });
  });
}

/** `[S2-20]` and `[S2-20, S2-22]` lead to the statements. */
export function statementLinks(md: Markdown): void {
  const one = new RegExp(ID, "g");
  md.core.ruler.push("statement-links", (state) => {
    const depth = (state.env.relativePath ?? "").split("/").length - 1;
    const up = depth === 0 ? "./" : "../".repeat(depth);
    replace(state, new RegExp(`\\[${ID}[A-Z0-9-a-z., ]*\\]`, "g"), ([whole]) => {
      let known = true;
      const linked = whole.replace(one, (id) => {
        const page = pages.get(id);
        if (page === undefined) known = false;
        return `<a href="${up}spec/${page}.html#${id}">${id}</a>`;
      });
      return known ? linked : undefined;
    });
  });
}
