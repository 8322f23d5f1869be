// The museum: every protocol keeps its rule in all schedules, each flaw breaks it in one, and the pages show what the command prints.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { explore, replay, scenario } from "../../bindings/explore/index.js";
import { CATCHES } from "../../bindings/explore/scenarios/catches.js";
import { FLAWED, SCENARIOS } from "../../bindings/explore/scenarios/index.js";
import { MUSEUM, SOUND } from "../../bindings/explore/scenarios/museum/index.js";
import { inside } from "../cli/inside.js";
import { filesBelow } from "../house/sources.js";

const pathOf = (page: string) => fileURLToPath(new URL(`../../docs/museum/${page}.md`, import.meta.url));
const textOf = (page: string) => readFileSync(pathOf(page), "utf8");
const PAGES = filesBelow("docs/museum", [".md"]).map((path) => path.replace(/^docs\/museum\/(.*)\.md$/, "$1"));

/** Blocks of a page that begin with a command. */
const SESSION = /```\n(\$ .*?)```/gs;

function commandsOf(text: string): string[] {
  return [...text.matchAll(SESSION)].flatMap(([, block = ""]) =>
    block.split("\n").filter((line) => line.startsWith("$ ")),
  );
}

async function played(command: string): Promise<string> {
  const { out, err } = await inside(command.split(" ").slice(2));
  expect(err, command).toBe("");
  return `${command}\n${out}`;
}

/** The page with what its commands print now. */
async function playedPage(text: string): Promise<string> {
  const outputs = new Map<string, string>();
  for (const command of commandsOf(text)) if (!outputs.has(command)) outputs.set(command, await played(command));
  return text.replace(SESSION, (_, block: string) => {
    const commands = block.split("\n").filter((line) => line.startsWith("$ "));
    return `\`\`\`\n${commands.map((command) => outputs.get(command)).join("")}\`\`\``;
  });
}

describe("protocols of the museum", () => {
  it.each(SOUND.map((sound) => [sound.name, sound] as const))(
    "%s keeps its rule in every schedule",
    async (_, sound) => {
      const { violations, complete, races, schedules } = await explore(sound);
      expect(violations).toEqual([]);
      expect([complete, races]).toEqual([true, 0]);
      expect(schedules).toBeGreaterThan(1n);
      if (sound.weak === undefined) return;
      const weakly = await explore(sound, { weak: sound.weak });
      expect([weakly.violations, weakly.complete]).toEqual([[], true]);
    },
  );

  it.each(FLAWED.map((flawed) => [flawed.name, flawed] as const))("%s breaks it", async (_, flawed) => {
    const { weak } = flawed,
      { violations } = await explore(flawed, { races: false, weak });
    expect(violations.length).toBeGreaterThan(0);
    if (weak !== undefined) expect((await explore(flawed, { races: false })).violations).toEqual([]);
    for (const { rule, replay: text } of violations) expect(replay(text, FLAWED).rules).toContain(rule);
  });

  it("have names of their own, and all can be asked for by name", () => {
    const names = [...SCENARIOS, ...FLAWED].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(scenario(name).name).toBe(name);
    expect(SCENARIOS).toEqual(expect.arrayContaining([...SOUND]));
  });
});

describe("granule explore --list", () => {
  it("names the protocols with a flaw behind the others, and --json apart from them", async () => {
    const lines = (await inside(["explore", "--list"])).out.split("\n"),
      cut = lines.indexOf("With a flaw, not among all:");
    const namesOf = (some: readonly string[]) => some.filter((line) => line !== "").map((line) => line.split(" ")[0]);
    expect(namesOf(lines.slice(0, cut))).toEqual(SCENARIOS.map(({ name }) => name));
    expect(namesOf(lines.slice(cut + 1))).toEqual(FLAWED.map(({ name }) => name));
    const { scenarios, flawed } = JSON.parse((await inside(["explore", "--list", "--json"])).out);
    expect([scenarios.length, flawed.length]).toEqual([SCENARIOS.length, FLAWED.length]);
    expect(flawed[0]).toEqual({ name: FLAWED[0]?.name, title: FLAWED[0]?.title, walkers: 2 });
  });
});

describe("questions that sets of outcomes answer", () => {
  it("the test for LOCKED is not redundant: without it both walkers are done", async () => {
    const outcomesOf = async (name: string) =>
      (await explore(scenario(name))).outcomes.map((one) => one.split(" | ").slice(0, 2));
    expect(await outcomesOf("block-over-table")).toEqual([
      ["-11", "0"],
      ["0", "-11"],
    ]);
    expect(await outcomesOf("block-over-table-untested")).toContainEqual(["0", "0"]);
  });

  it("without fences the unmapper uses what is freed, with both it never does", async () => {
    const usedIn = async (name: string) => (await explore(scenario(name))).outcomes.map((one) => one.split(" | ")[1]);
    expect(new Set(await usedIn("unmap-fences"))).toEqual(new Set(["0"]));
    for (const flaw of ["no-fences", "no-remover-fence", "no-unmapper-fence"]) {
      expect(new Set(await usedIn(`unmap-fences-${flaw}`))).toEqual(new Set(["0", "1"]));
    }
  });
});

describe("pages of the museum", () => {
  // After a change of the search `npx vitest run test/explore/museum.test.ts -u` writes them anew.
  it.each(PAGES)("%s shows what the command prints", async (page) => {
    await expect(await playedPage(textOf(page))).toMatchFileSnapshot(pathOf(page));
  });

  it.each(MUSEUM.map(({ page, sound, flawed }) => [sound.name, page, flawed] as const))(
    "%s has a page that runs it and each of its flaws",
    (name, page, flawed) => {
      const commands = commandsOf(textOf(page)).join("\n").split(/[\s:]/);
      expect(commands).toEqual(expect.arrayContaining([name, ...flawed.map((one) => one.name)]));
      expect(textOf("README")).toContain(`\`${name}\``);
    },
  );

  it("name only scenarios and flaws of the core that there are", () => {
    const known = new Set([...SCENARIOS, ...FLAWED].map(({ name }) => name).concat(Object.keys(CATCHES)));
    for (const name of ["locked-again", "blind-take", "block-block", "epoch-ignores-readers", "lockfree-unmap"]) {
      expect(known).toContain(name);
      expect(PAGES.some((page) => textOf(page).includes(`${name}\``))).toBe(true);
    }
  });
});
