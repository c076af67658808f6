"""The samples that both servers get: seeded, and the same for the same seed.

Every kind of series that a query may meet: gauges with decimals, counters that are reset, constants, full-entropy floats, NaN and
infinities, series that begin late, end early or have gaps, staleness markers, classic and native histograms.
Times are off every boundary that a query's window may have (these are whole and half seconds), because Prometheus 3 leaves a range's
left end out and Prometheus 2 does not.
"""
import math
import random
import struct

START_MS = 1_790_000_000_000
SPAN_S = 7200
INTERVAL_S = 15
STALE = struct.unpack('<d', struct.pack('<Q', 0x7FF0000000000002))[0]


def times(rng, begin_s=0, end_s=SPAN_S):
    shift = rng.randrange(1, INTERVAL_S * 1000)
    for at in range(begin_s * 1000, end_s * 1000, INTERVAL_S * 1000):
        jitter = rng.choice((0, 0, 0, 3, -3, 47))
        ms = at + shift + jitter
        yield START_MS + ms + (ms % 500 == 0)


def gauge(rng):
    value = rng.uniform(-50, 150)
    digits = rng.choice((0, 1, 2, 17))
    while True:
        value += rng.gauss(0, 3)
        yield round(value, digits) if digits < 17 else value


def counter(rng, life):
    """Where a counter may have begun inside the window, Prometheus 3 extrapolates otherwise than 2.42. So they are far from 0, and
    those that have gaps have no resets."""
    value = rng.choice((2e6, 3e6, 1e9))
    while True:
        value += rng.choice((0, 1, rng.randrange(100), rng.uniform(0, 10)))
        if life == 'whole' and rng.random() < 0.01:
            value = 1e6 + rng.choice((0.0, rng.uniform(0, 5)))
        yield value


def constant(rng):
    value = rng.choice((0.0, 1.0, -1.0, 42.5, 3.0))
    while True:
        yield value


def odd(rng):
    """None so large or small that a sum could overflow or lose it: there Prometheus 3 sums otherwise than 2.42."""
    while True:
        yield rng.choice((math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, rng.uniform(-1, 1)))


class Histogram:
    """A native histogram as remote write has it: bucket indexes to counts, of observations above and below zero."""

    def __init__(self, schema, zero_threshold):
        self.schema, self.zero_threshold = schema, zero_threshold
        self.sum, self.zero, self.positive, self.negative = 0.0, 0, {}, {}

    def observe(self, value, times=1):
        self.sum += value * times
        if abs(value) <= self.zero_threshold:
            self.zero += times
            return
        side = self.positive if value > 0 else self.negative
        index = math.ceil(math.log2(abs(value)) * 2.0**self.schema)
        side[index] = side.get(index, 0) + times

    def coarser(self, schema):
        """The same at a lower resolution, as a client makes it that has too many buckets."""
        other = Histogram(schema, self.zero_threshold)
        other.sum, other.zero = self.sum, self.zero
        shift = self.schema - schema
        for mine, its in ((self.positive, other.positive), (self.negative, other.negative)):
            for index, count in mine.items():
                its[-(-index >> shift)] = its.get(-(-index >> shift), 0) + count
        return other

    def copy(self):
        return self.coarser(self.schema)

    def stale(self):
        other = Histogram(0, 0.0)
        other.sum = STALE
        return other

    def count(self):
        return self.zero + sum(self.positive.values()) + sum(self.negative.values())

    def encode(self, ts):
        out = bytearray(b'\x08' + varint(self.count()) + b'\x19' + struct.pack('<d', self.sum) + b'\x20' + varint(zigzag(self.schema)))
        out += b'\x29' + struct.pack('<d', self.zero_threshold) + b'\x30' + varint(self.zero)
        for number, side in ((8, self.negative), (11, self.positive)):
            spans, at = [], None
            for index in sorted(side):
                if index == at:
                    spans[-1][1] += 1
                else:
                    spans.append([index - (at or 0), 1])
                at = index + 1
            for offset, length in spans:
                out += field(number, b'\x08' + varint(zigzag(offset)) + b'\x10' + varint(length))
            counts = [side[index] for index in sorted(side)]
            deltas = [b - a for a, b in zip([0] + counts, counts)]
            out += field(number + 1, b''.join(varint(zigzag(delta)) for delta in deltas))
        return bytes(out) + b'\x78' + varint(ts)


def native(rng, life, threshold=2.0**-128):
    """Native histograms that count, in whole numbers: Prometheus 2.42 loses samples of others. They are far from 0, and have as many
    observations after a reset as before the first, for the reason that counter() tells. Observations are multiples of 1/1024, so that
    sums of them are exact."""
    schema = rng.choice((-4, -1, 0, 1, 2, 3, 5, 8))
    spread = rng.choice((0.5, 1, 2))
    is_signed = rng.random() < 0.4

    def observation():
        value = round(rng.lognormvariate(0, spread) * 1024) / 1024
        return -value if is_signed and rng.random() < 0.3 else value

    def fresh(count):
        histogram = Histogram(schema, threshold)
        places = rng.randrange(1, 9)
        for _ in range(places):
            histogram.observe(observation(), count // places)
        return histogram

    histogram = fresh(5_000_000)
    while True:
        if life == 'whole' and rng.random() < 0.01:
            histogram = fresh(4_000_000)
        elif schema > 0 and rng.random() < 0.005:
            schema -= 1
            histogram = histogram.coarser(schema)
        for _ in range(rng.choice((0, 1, 5, rng.randrange(40)))):
            histogram.observe(observation())
        yield histogram.copy()


def points(rng, values, kind):
    """Times and values of one series; kinds of life: whole, late, short, gaps, stale."""
    begin = rng.randrange(SPAN_S // 2) if kind == 'late' else 0
    end = rng.randrange(SPAN_S // 4, SPAN_S) if kind == 'short' else SPAN_S
    out = []
    is_off = False
    for ts in times(rng, begin, end):
        value = next(values)
        if kind in ('gaps', 'stale') and rng.random() < 0.02:
            if kind == 'stale' and not is_off:
                out.append((ts, value.stale() if isinstance(value, Histogram) else STALE))
            is_off = not is_off
        if not is_off:
            out.append((ts, value))
    return out


LIVES = ('whole', 'whole', 'whole', 'late', 'short', 'gaps', 'stale')


def make(seed, instances=5):
    """A list of (labels, [(ts_ms, value)]); a value is a float or a Histogram."""
    rng = random.Random(seed)
    series = []

    def add(name, labels, values, life=None):
        life = life or rng.choice(LIVES)
        if values in (counter, native):
            values = values(rng, life)
        series.append(({'__name__': name, **labels}, points(rng, values, life)))

    for number in range(instances):
        for job in ('api', 'web'):
            base = {'instance': f'host-{number}:9100', 'job': job}
            add('up', base, constant(random.Random(1)), 'whole')
            add('build_info', {**base, 'version': f'1.{number % 3}', 'arch': 'x86'}, iter_ones(), 'whole')
            for mode in ('user', 'system', 'idle'):
                add('cpu_seconds_total', {**base, 'mode': mode}, counter)
            for code in ('200', '404', '500'):
                add('http_requests_total', {**base, 'code': code, 'handler': rng.choice(('/', '/a', '/b/c'))}, counter)
            add('temperature_celsius', {**base, 'sensor': str(number % 2)}, gauge(rng))
            add('memory_bytes', base, gauge(rng))
            add('memory_limit_bytes', base, constant(rng))
            add('entropy', base, (rng.gauss(0, 1e6) for _ in iter(int, 1)))
            add('odd', base, odd(rng))
            for code in ('200', '500'):
                add('latency_seconds', {**base, 'code': code}, native)
            add('payload_bytes', base, native(rng, 'gaps', threshold=0.001))
            counts = [0] * 6
            bounds = ('0.1', '0.5', '1', '2.5', '10', '+Inf')
            rows = [[] for _ in bounds]
            for ts in times(rng):
                for _ in range(rng.randrange(6)):
                    first = min(int(rng.expovariate(0.7)), 5)
                    for bucket in range(first, 6):
                        counts[bucket] += 1
                for bucket in range(6):
                    rows[bucket].append((ts, 1e6 * (bucket + 1) + counts[bucket]))
            for bound, row in zip(bounds, rows):
                series.append(({'__name__': 'request_seconds_bucket', **base, 'le': bound}, row))
    return series


def iter_ones():
    while True:
        yield 1.0


# ---- Remote write 1.0: protobuf by hand, snappy with literals only ----


def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number):
    return number << 1 ^ number >> 63


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def write_request(series):
    out = bytearray()
    for labels, rows in series:
        body = bytearray()
        for name in sorted(labels):
            body += field(1, field(1, name.encode()) + field(2, labels[name].encode()))
        for ts, value in rows:
            if isinstance(value, Histogram):
                body += field(4, value.encode(ts))
            else:
                body += field(2, b'\x09' + struct.pack('<d', value) + b'\x10' + varint(ts))
        out += field(1, bytes(body))
    return bytes(out)


def snappy(data):
    out = bytearray(varint(len(data)))
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out += bytes((61 << 2,)) + struct.pack('<H', len(part) - 1) + part
    return bytes(out)
