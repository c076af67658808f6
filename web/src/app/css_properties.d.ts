import 'react';

declare module 'react' {
  interface CSSProperties {
    /** Columns of twelve that a panel takes. */
    '--panel-width'?: number;
  }
}
