import * as Popover from '@radix-ui/react-popover';
import type { Panel } from '../api/dashboards';
import type { PanelData } from '../api/panels';
import { formatMoment, formatTook } from '../format/time';
import { QueryBlock } from './query_block';

interface Props {
  panel: Panel;
  data: PanelData | undefined;
}

/** Every figure has one definition, and here it is. */
export function PanelInfo({ panel, data }: Props) {
  return (
    <Popover.Root>
      <Popover.Trigger
        className="icon-button icon-button-small"
        aria-label={`About ${panel.title}`}
        title="Definition"
      >
        <svg viewBox="0 0 20 20" aria-hidden="true">
          <g fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round">
            <circle cx="10" cy="10" r="7.2" />
            <path d="M10 9.2v4.2M10 6.5v.1" />
          </g>
        </svg>
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="popover panel-info"
          align="end"
          sideOffset={6}
          collisionPadding={12}
          aria-label={`About ${panel.title}`}
        >
          <h4>{panel.title}</h4>
          {panel.description !== '' && <p>{panel.description}</p>}
          {panel.query !== '' && <QueryBlock text={panel.query.trim()} language={panel.language} />}
          <dl>
            <dt>Window</dt>
            <dd>{windowText(panel, data)}</dd>
            {panel.target !== null && (
              <>
                <dt>Target</dt>
                <dd>{panel.target.text}</dd>
              </>
            )}
            {data !== undefined && (
              <>
                <dt>Query took</dt>
                <dd>{formatTook(data.tookMs)}</dd>
              </>
            )}
          </dl>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

function windowText(panel: Panel, data: PanelData | undefined): string {
  if (!panel.usesRange) return 'its own, given in the query; the time range above does not change it';
  if (data === undefined || data.toMs === 0) return 'the time range above';
  return `${formatMoment(data.fromMs)} to ${formatMoment(data.toMs)}`;
}
