export interface Module {
  name: string;
  entry: string;
  type: string;
  debug: boolean;
  instead?: Record<string, string>;
}
export const MODULES: readonly Module[];
export function outputs(module: Module): { raw: string; release: string; debug: string };
