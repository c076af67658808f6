import { useLocation } from '@tanstack/react-router';
import { type RefObject, useEffect, useRef } from 'react';

/**
 * A row of links that is wider than a small screen: the link of this page is scrolled to, again when `content`, which
 * stands for what is in the row, changes.
 */
export function useCurrentInView<T extends HTMLElement>(content: number): RefObject<T | null> {
  const ref = useRef<T>(null);
  const path = useLocation({ select: ({ pathname }) => pathname });
  useEffect(() => {
    const row = ref.current;
    const current = row?.querySelector<HTMLElement>('[aria-current="page"]');
    if (row == null || current == null) return;
    // Not scrollIntoView(), which would move the page as well.
    row.scrollLeft = current.offsetLeft - row.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
  }, [path, content]);
  return ref;
}
