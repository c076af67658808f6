import 'react';

declare module 'react' {
  interface CSSProperties {
    /** Columns of twelve that a panel takes. */
    '--panel-width'?: number;
    /** Rows of a group, for its height while it is out of sight. */
    '--row-count'?: number;
  }
}
