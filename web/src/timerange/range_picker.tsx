import * as Popover from '@radix-ui/react-popover';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { formatMoment } from '../format/time';
import { CustomRangeForm } from './custom_range';
import { rangeNoun, type TimeRange } from './time_range';

interface Props {
  range: TimeRange;
  names: string[];
}

/** Each choice is a link, because the range is part of the address. */
export function RangePicker({ range, names }: Props) {
  const [isOpen, setIsOpen] = useState(false);
  const isCustom = range.kind === 'absolute' || !names.includes(range.name);
  return (
    <nav className="range-picker" aria-label="Time range">
      {names.map((name) => (
        <Link
          key={name}
          to="."
          search={{ range: name }}
          className="range-choice"
          activeProps={{}}
          aria-current={range.kind === 'relative' && range.name === name ? 'true' : 'false'}
          aria-label={`${name}, last ${rangeNoun(name)}`}
        >
          {name}
        </Link>
      ))}
      <Popover.Root open={isOpen} onOpenChange={setIsOpen}>
        <Popover.Trigger
          className="range-choice"
          aria-current={isCustom ? 'true' : 'false'}
          title={customText(range)}
        >
          {isCustom && range.kind === 'relative' ? range.name : 'Custom'}
        </Popover.Trigger>
        <Popover.Portal>
          <Popover.Content
            className="popover"
            align="end"
            sideOffset={6}
            collisionPadding={12}
            aria-label="Custom time range"
          >
            <CustomRangeForm
              range={range}
              onDone={() => {
                setIsOpen(false);
              }}
            />
          </Popover.Content>
        </Popover.Portal>
      </Popover.Root>
    </nav>
  );
}

function customText(range: TimeRange): string {
  return range.kind === 'absolute' ? `${formatMoment(range.fromMs)} to ${formatMoment(range.toMs)}` : '';
}
