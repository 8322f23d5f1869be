import { expect, it, vi } from "vitest";

it("npm start replays the boot of a Linux guest, and says in words that its tables are the real ones", async () => {
  const before = process.exitCode;
  let text = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    await import("../../bindings/cli/demo.js");
    expect(process.exitCode).toBe(0);
  } finally {
    write.mockRestore();
    process.exitCode = before;
  }
  const flat = text.replaceAll(/\s+/g, " ");
  expect(flat).toContain("All 39 entries are equal, bit for bit.");
  expect(flat).toContain("its 16,725 entries are equal to the real ones, too");
  expect(text).toContain("level 2: table of 0x40000000, 2 MiB an entry: 69 blocks mapped");
  expect(text).toContain("npx granule replay test/replay/fixtures/J-boot-6.12-4k/Image612-v1-thp-256m.trace.gz");
});
