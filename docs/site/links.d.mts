/** Dead links of a built site, as `page: link`, and how many pages it has. `base` is the path that the site is served under. */
export function deadLinks(root: string, base?: string): { pages: number; dead: string[] };
