/** Who silences: kept by this browser, because keys have no person. */
import { useState } from 'react';

const STORAGE_KEY = 'apiary-author';

function stored(): string {
  try {
    return localStorage.getItem(STORAGE_KEY) ?? '';
  } catch {
    return ''; // storage is switched off
  }
}

export function rememberAuthor(name: string): void {
  try {
    localStorage.setItem(STORAGE_KEY, name);
  } catch {
    // see stored()
  }
}

export function useAuthor() {
  return useState(stored);
}
