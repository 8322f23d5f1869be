import { describe, expect, it } from "vitest";
import { CONFIGURATIONS, made } from "../support/configurations.js";
import { codeOf } from "../support/tables.js";

describe.each(CONFIGURATIONS)("countLeaves on %s", (_, config) => {
  it("counts pages over several tables, and blocks, and no hole", () => {
    const { table, page, block } = made(config);
    table.map(block - 3 * page, 3 * page, 0, "r"); // the end of one table
    table.map(block, 4 * page, 0, "r"); // the start of the next
    table.map(2 * block + page, page, 0, "r"); // a hole before and behind it
    table.map(4 * block, 2 * block, 0, "r");
    expect(table.countLeaves()).toBe(10);
    expect(table.countLeaves(block - page, 2 * page)).toBe(2);
    expect(table.countLeaves(block - page, block + 2 * page)).toBe(5);
    expect(table.countLeaves(block + 4 * page, block)).toBe(1);
    expect(table.countLeaves(2 * block, 3 * block)).toBe(2);
    expect(table.countLeaves(5 * block)).toBe(1);
    expect(table.countLeaves(6 * block)).toBe(0);
    expect(table.countLeaves(0, 0)).toBe(0);
  });

  it("counts valid leaves alone: no annotation, no marker", () => {
    const { table, page } = made(config);
    table.map(0, 4 * page, 0, "r");
    table.setOwner(page, page, 1);
    table.poke(2 * page, 0x400n);
    expect(table.countLeaves(0, 4 * page)).toBe(2);
  });
});

describe("countLeaves", () => {
  it("ends at the input size [WLK-2]", () => {
    const { table, page } = made({ ipaBits: 39 });
    expect(table.countLeaves(2 ** 39, 0)).toBe(0);
    expect(codeOf(() => table.countLeaves(2 ** 39 - page, 2 * page))).toBe("ERANGE");
  });
});
