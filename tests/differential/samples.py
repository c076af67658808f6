"""The samples that both servers get: seeded, and the same for the same seed.

Every kind of series that a query may meet: gauges with decimals, counters that are reset, constants, full-entropy floats, NaN and
infinities, series that begin late, end early or have gaps, staleness markers, classic histograms, and names that are not ASCII words.
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
                out.append((ts, STALE))
            is_off = not is_off
        if not is_off:
            out.append((ts, value))
    return out


LIVES = ('whole', 'whole', 'whole', 'late', 'short', 'gaps', 'stale')


def make(seed, instances=5):
    """A list of (labels, [(ts_ms, value)])."""
    rng = random.Random(seed)
    series = []

    def add(name, labels, values, life=None):
        life = life or rng.choice(LIVES)
        if values is counter:
            values = counter(rng, life)
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


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def write_request(series):
    out = bytearray()
    for labels, rows in series:
        body = bytearray()
        for name in sorted(labels):
            body += field(1, field(1, name.encode()) + field(2, labels[name].encode()))
        for ts, value in rows:
            body += field(2, b'\x09' + struct.pack('<d', value) + b'\x10' + varint(ts))
        out += field(1, bytes(body))
    return bytes(out)


def snappy(data):
    out = bytearray(varint(len(data)))
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out += bytes((61 << 2,)) + struct.pack('<H', len(part) - 1) + part
    return bytes(out)
