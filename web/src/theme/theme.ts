/** Light or dark: the system's choice until the reader makes one, which this browser then remembers. */
import { useSyncExternalStore } from 'react';

export type Theme = 'light' | 'dark';

const STORAGE_KEY = 'apiary-theme';
const systemDark = window.matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

function chosen(): Theme | null {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    return stored === 'light' || stored === 'dark' ? stored : null;
  } catch {
    return null; // storage is switched off: the choice lasts as long as the page
  }
}

let choice = chosen();

function current(): Theme {
  return choice ?? (systemDark.matches ? 'dark' : 'light');
}

function apply() {
  document.documentElement.dataset['theme'] = current();
  for (const listener of listeners) listener();
}

export function startTheme() {
  systemDark.addEventListener('change', apply);
  apply();
}

export function toggleTheme() {
  choice = current() === 'dark' ? 'light' : 'dark';
  try {
    localStorage.setItem(STORAGE_KEY, choice);
  } catch {
    // see chosen()
  }
  apply();
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, current);
}
