// What the explore build asks of its host. No other build imports these.
// This file is not linted: declarations with decorators are AssemblyScript's alone.

/** An access where another walker may come in between: the host may put this walker's stack aside here, and resume it later. */
// @ts-ignore: decorator
@external("explore", "access")
export declare function hostAccess(site: u32, p: u32, expected: i32): void;

/** An access that nothing comes in between. */
// @ts-ignore: decorator
@external("explore", "pass")
export declare function hostPass(site: u32, p: u32, bytes: u32): void;
