// A scenario, or a schedule, as the fragment of a link: nothing leaves the page, since a browser does not send fragments.

import { checked, type Scenario } from "./scenario.js";

async function through(
  bytes: Uint8Array<ArrayBuffer>,
  stream: CompressionStream | DecompressionStream,
): Promise<Uint8Array> {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

/** The fragment, without `#`. */
export async function linkOf(scenario: Scenario): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(scenario));
  const packed = await through(bytes, new CompressionStream("deflate-raw"));
  const text = btoa(String.fromCharCode(...packed));
  return `s=${text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

/** The scenario of a fragment; undefined where there is none, or one that makes no sense. */
export async function scenarioOf(fragment: string): Promise<Scenario | undefined> {
  const [, text] = /^#?s=([A-Za-z0-9_-]+)$/.exec(fragment) ?? [];
  if (text === undefined) return undefined;
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
    return checked(JSON.parse(new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw")))));
  } catch {
    return undefined;
  }
}

/** The replay string of a fragment, with the moment behind it; undefined where there is none. */
export function scheduleOf(fragment: string): string | undefined {
  const [, text] = /^#?x=(.+)$/.exec(fragment) ?? [];
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
