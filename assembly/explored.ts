// Everything that runs on one machine in one module: the engine, the hardware's walker and the VM. For the explore build alone, in
// which a walker is one instance.

export * from "./engine";
export * from "./mmu";
export * from "./vm";
