import { type RefObject, useEffect, useState } from 'react';

export interface BoxSize {
  width: number;
  height: number;
  remPx: number;
}

/** The size of an element as it changes; null before it is known. */
export function useBoxSize(ref: RefObject<HTMLElement | null>): BoxSize | null {
  const [size, setSize] = useState<BoxSize | null>(null);
  useEffect(() => {
    const box = ref.current;
    if (!box) return;
    const observer = new ResizeObserver(() => {
      const next = {
        width: box.clientWidth,
        height: box.clientHeight,
        remPx: parseFloat(getComputedStyle(document.documentElement).fontSize) || 16,
      };
      setSize((before) =>
        before?.width === next.width && before.height === next.height && before.remPx === next.remPx
          ? before
          : next,
      );
    });
    observer.observe(box);
    return () => {
      observer.disconnect();
    };
  }, [ref]);
  return size;
}
