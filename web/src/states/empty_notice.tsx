import type { Panel } from '../api/dashboards';

export function EmptyNotice({ usesRange, language }: Pick<Panel, 'usesRange' | 'language'>) {
  return (
    <div className="notice">
      <svg className="notice-art" viewBox="0 0 48 42" aria-hidden="true">
        <path d="M16 3 26 8.8v11.5L16 26 6 20.3V8.8zM36 14l7 4v8.2l-7 4-7-4V18zM18 29.5l5 3v5.8l-5 3-5-3v-5.8z" />
      </svg>
      <p className="notice-title">Nothing here yet</p>
      <p className="notice-hint">
        {language === 'promql' && 'No samples in this time range. Choose a longer one, or report the metric.'}
        {language === 'sql' &&
          (usesRange
            ? 'No rows in this time range. Choose a longer one, or send the first event.'
            : 'No rows yet. The figure appears with the first event.')}
      </p>
    </div>
  );
}
