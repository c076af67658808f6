import type { Labels } from '../api/labels';
import type { Health, Job, Target } from '../api/targets';

/** Which targets the reader wants to see. It lives in the address: `?q=node&show=down`. */
export interface TargetSearch {
  q?: string | undefined;
  show?: 'down' | undefined;
}

export function parseTargetSearch(search: Record<string, unknown>): TargetSearch {
  const { q, show } = search;
  return {
    ...(typeof q === 'string' && q !== '' ? { q } : {}),
    ...(show === 'down' ? { show } : {}),
  };
}

function pairsOf(labels: Labels): string[] {
  return Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
}

/** Every word of the search is somewhere in what is known of the target. */
export function matches(target: Target, q: string): boolean {
  const all = [
    target.job,
    target.url,
    target.lastError,
    ...pairsOf(target.labels),
    ...pairsOf(target.discovered),
  ]
    .join(' ')
    .toLowerCase();
  return q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

const ORDER: Record<Health, number> = { down: 0, unknown: 1, up: 2 };

/** What is wrong stands first; of the same health, by address. */
export function inOrder(targets: readonly Target[]): Target[] {
  return [...targets].sort((a, b) => ORDER[a.health] - ORDER[b.health] || a.url.localeCompare(b.url));
}

function isWrong({ targets }: Job): boolean {
  return targets.some(({ health }) => health === 'down');
}

/**
 * Jobs with what is left of them, those with something wrong first. A job without any target is shown while nothing is
 * searched for.
 */
export function filterJobs(jobs: readonly Job[], { q, show }: TargetSearch): Job[] {
  const isAll = q === undefined && show === undefined;
  return jobs
    .map((job) => ({
      ...job,
      targets: inOrder(job.targets).filter(
        (target) => matches(target, q ?? '') && (show === undefined || target.health === 'down'),
      ),
    }))
    .filter(({ targets }) => isAll || targets.length > 0)
    .sort((a, b) => Number(isWrong(b)) - Number(isWrong(a)));
}

export function countHealth(jobs: readonly Job[], health: Health): number {
  return jobs.reduce(
    (sum, { targets }) => sum + targets.filter((target) => target.health === health).length,
    0,
  );
}
