export function copyExploreBuilds(): void;
