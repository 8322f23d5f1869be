// A process that keeps vitest warm in a workplace and runs the test files that it is sent, until one test fails.
// It is a process of its own, because a mutant can make a test loop for ever: the parent then ends it and its children.

import { relative, resolve } from "node:path";
import { createVitest } from "vitest/node";

const [folder] = process.argv.slice(2);

/** Files run in the order in which they were sent: the ones that found most mutants first. */
class AsSent {
  shard(files) {
    return files;
  }

  sort(files) {
    return [...files].sort((a, b) => order.indexOf(a.moduleId) - order.indexOf(b.moduleId));
  }
}
let order = [];

const pathOf = (module) => relative(folder, module.moduleId);

/** What a module's own code took, without what the process did for it. */
function secondsOf(module) {
  const { collectDuration, duration } = module.diagnostic();
  return (collectDuration + duration) / 1000;
}

const vitest = await createVitest("test", {
  root: folder,
  config: `${folder}/vitest.config.ts`,
  project: ["node"],
  watch: false,
  bail: 1,
  // Nothing is shared between two runs; within one, files share what they import.
  isolate: false,
  sequence: { sequencer: AsSent },
  fileParallelism: false,
  maxWorkers: 1,
  reporters: [{ onTestModuleEnd: (module) => process.send({ ended: pathOf(module), took: secondsOf(module) }) }],
  silent: true,
});
const project = vitest.getProjectByName("node");
process.send({ ready: true });

/** Messages of tests that waited for something in vain: vitest's own, and those of test/support/walkers.ts. */
const WAITED = /timed out in \d+ ?ms|does not come/;

function firstFailure(modules) {
  for (const module of modules) {
    for (const test of module.children.allTests("failed")) {
      const slow = test.result().errors.some(({ message }) => WAITED.test(message));
      return { failure: `${pathOf(module)}: ${test.fullName}`, slow };
    }
    if (!module.ok()) return { failure: `${pathOf(module)}: does not run` };
  }
  return undefined;
}

async function run(files) {
  order = files.map((file) => resolve(folder, file));
  const specifications = order.map((file) => project.createSpecification(file));
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications, false);
  const tests = testModules.reduce((sum, module) => sum + [...module.children.allTests("passed")].length, 0);
  const unhandled = unhandledErrors.length > 0 ? `unhandled: ${unhandledErrors[0]}` : undefined;
  return { tests, ...(firstFailure(testModules) ?? { failure: unhandled }) };
}

process.on("message", async ({ files, runs }) => {
  process.env.GRANULE_RUNS = runs; // the workers that vitest starts for this run have it too
  try {
    process.send({ done: await run(files) });
  } catch (error) {
    process.send({ done: { failure: `the runner: ${error}`, tests: 0 } });
  }
  vitest.state.filesMap.clear();
  vitest.state.errorsSet.clear();
});
