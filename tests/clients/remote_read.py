"""A client of Prometheus' remote read: asks for streamed chunks and takes them apart, every bit of them, by itself.

Written from Prometheus' description of its formats and apart from the C in src/codec/, so that one checks the other.
"""
import pathlib
import struct
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'differential'))
import samples
from samples import field, varint

SAMPLES, CHUNKS = 0, 1
CONTENT_TYPE = 'application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse'
STALE_BITS = 0x7FF0000000000002


# ---- Protocol Buffers ----


def varint_at(data, at):
    """It, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """Number and value of each; of doubles their bytes."""
    at = 0
    while at < len(data):
        tag, at = varint_at(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = varint_at(data, at)
            yield tag >> 3, value
        elif wire == 1:
            yield tag >> 3, data[at:at + 8]
            at += 8
        elif wire == 2:
            size, at = varint_at(data, at)
            yield tag >> 3, data[at:at + size]
            at += size
        else:
            raise AssertionError(f'wire type {wire}')


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def request(queries, accepted):
    """queries: [(start_ms, end_ms, [(kind, name, value)])], kinds: 0 =, 1 !=, 2 =~, 3 !~"""
    out = b''
    for start_ms, end_ms, matchers in queries:
        body = b'\x08' + varint(start_ms) + b'\x10' + varint(end_ms)
        for kind, name, value in matchers:
            body += field(3, (b'\x08' + varint(kind) if kind else b'') + field(2, name.encode()) + field(3, value.encode()))
        out += field(1, body)
    return out + (field(2, b''.join(varint(kind) for kind in accepted)) if accepted else b'')


def ask(url, queries, accepted=(CHUNKS, SAMPLES)):
    """The Content-Type and the bytes."""
    headers = {'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy', 'X-Prometheus-Remote-Read-Version': '0.1.0'}
    data = samples.snappy(request(queries, accepted))
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=60) as answer:
        return answer.headers['Content-Type'], answer.read()


def unpacked(data):
    """A block of snappy."""
    size, at = varint_at(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                count = length - 59
                length = int.from_bytes(data[at:at + count], 'little')
                at += count
            out += data[at:at + length + 1]
            at += length + 1
            continue
        if tag & 3 == 1:
            length, offset = (tag >> 2 & 7) + 4, tag >> 5 << 8 | data[at]
            at += 1
        else:
            count = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(data[at:at + count], 'little')
            at += count
        start = len(out) - offset
        while length > 0:
            part = out[start:start + length]
            out += part
            length -= len(part)
    assert len(out) == size, 'a block of snappy that is not as long as it says'
    return bytes(out)


# ---- Frames ----


def crc32c_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


TABLE = tuple(crc32c_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def frames(data):
    """(query index, labels as a dict, [(min_ms, max_ms, encoding, bytes)]) of each; checks lengths and checksums."""
    at = 0
    while at < len(data):
        size, at = varint_at(data, at)
        crc, = struct.unpack('>I', data[at:at + 4])
        message = data[at + 4:at + 4 + size]
        at += 4 + size
        assert len(message) == size, 'a frame is cut off'
        assert size <= (1 << 20) + (64 << 10), f'a frame of {size} bytes'
        assert crc32c(message) == crc, 'a frame is damaged'
        index, series = 0, []
        for number, value in fields(message):
            if number == 1:
                series.append(value)
            else:
                index = value
        for one in series:
            labels, chunks = {}, []
            for number, value in fields(one):
                pairs = dict(fields(value))
                if number == 1:
                    labels[pairs[1].decode()] = pairs[2].decode()
                else:
                    chunks.append((signed(pairs.get(1, 0)), signed(pairs.get(2, 0)), pairs[3], pairs[4]))
            yield index, labels, chunks


# ---- Chunks ----


class Bits:
    def __init__(self, data):
        self.value = int.from_bytes(data, 'big')
        self.left = 8 * len(data)

    def get(self, count):
        assert self.left >= count, 'a chunk is cut off'
        self.left -= count
        return self.value >> self.left & (1 << count) - 1

    def bucketed(self, widths, is_signed=True):
        ones = 0
        while ones < len(widths) and self.get(1):
            ones += 1
        if not ones:
            return 0
        width = widths[ones - 1]
        value = self.get(width)
        return value - (1 << width) if is_signed and value > 1 << width - 1 else value

    def varint(self):
        value = shift = 0
        while True:
            byte = self.get(8)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


class Xor:
    def __init__(self, bits, start):
        self.bits, self.value, self.window = bits, start, None

    def get(self):
        if self.bits.get(1):
            if self.bits.get(1):
                leading, width = self.bits.get(5), self.bits.get(6) or 64
                self.window = width, 64 - leading - width
            width, trailing = self.window
            self.value ^= self.bits.get(width) << trailing
        return self.value


TIMES = (14, 17, 20, 64)
NUMBERS = (3, 6, 9, 12, 18, 25, 56, 64)


def doubles(data):
    """[(ts_ms, bits of the double)]"""
    bits = Bits(data)
    count = bits.get(16)
    if count == 0:
        return []
    first = bits.varint()
    ts, delta = first >> 1 ^ -(first & 1), 0
    value = Xor(bits, bits.get(64))
    out = [(ts, value.value)]
    while len(out) < count:
        delta = bits.varint() if len(out) == 1 else delta + bits.bucketed(TIMES)
        ts += delta
        out.append((ts, value.get()))
    assert bits.left < 8
    return out


def threshold(bits):
    first = bits.get(8)
    if first in (0, 255):
        return bits.get(64) if first else 0
    return struct.unpack('<Q', struct.pack('<d', 2.0 ** (first - 244)))[0]


def histograms(data, is_float):
    """(flags, layout, [(ts_ms, bits of the sum, [count, zero count, buckets…])]); figures None for staleness markers."""
    bits = Bits(data)
    count, flags = bits.get(16), bits.get(8) >> 6
    layout = [threshold(bits), bits.bucketed(NUMBERS)]
    sizes = []
    for _ in range(2):
        spans = []
        for _ in range(bits.bucketed(NUMBERS, False)):
            length = bits.bucketed(NUMBERS, False)
            spans.append((bits.bucketed(NUMBERS), length))
        layout.append(tuple(spans))
        sizes.append(sum(length for _, length in spans))
    if layout[1] == -53:
        bounds = []
        for _ in range(bits.bucketed(NUMBERS, False)):
            thousandths = bits.bucketed(NUMBERS, False)
            bounds.append((thousandths - 1) / 1000 if thousandths else struct.unpack('>d', bits.get(64).to_bytes(8, 'big'))[0])
        layout.append(tuple(bounds))
    figures = 2 + sum(sizes)
    out, ts, ts_delta = [], 0, 0
    before, deltas, states, sum_state = [0] * figures, [0] * figures, [None] * figures, None
    for sample in range(count):
        is_first = sample == 0
        change = bits.bucketed(NUMBERS)
        if not is_first:
            change = ts_delta = ts_delta + change
        ts += change

        def figure(i):
            if is_float:
                if is_first:
                    states[i] = Xor(bits, bits.get(64))
                    return states[i].value
                return states[i].get()
            if is_first:
                before[i] = bits.bucketed(NUMBERS, i > 1)
            else:
                deltas[i] += bits.bucketed(NUMBERS)
                before[i] += deltas[i]
            return before[i]

        values = [figure(0), figure(1)]
        if is_first:
            sum_state = Xor(bits, bits.get(64))
        total = sum_state.value if is_first else sum_state.get()
        is_stale = total == STALE_BITS
        if not is_stale or is_first:
            values += [figure(i) for i in range(2, figures)]
        if not is_float:  # neighbours' differences, of each sign
            for i in range(3, len(values)):
                if i != 2 + sizes[0]:
                    values[i] += values[i - 1]
        out.append((ts, total, None if is_stale else values))
    assert bits.left < 8
    return flags, tuple(layout), out


def series(data):
    """{labels as a sorted tuple: [(ts_ms, value)]} of an answer in frames; a histogram's value is (layout, sum, figures)."""
    out = {}
    for index, labels, chunks in frames(data):
        rows = out.setdefault((index, tuple(sorted(labels.items()))), [])
        for min_ms, max_ms, encoding, chunk in chunks:
            if encoding == 1:
                found = [(ts, bits) for ts, bits in doubles(chunk)]
            else:
                _, layout, points = histograms(chunk, encoding == 3)
                found = [(ts, (None if figures is None else (encoding, *layout), total, figures)) for ts, total, figures in points]
            assert found and found[0][0] == min_ms and found[-1][0] == max_ms, f'{min_ms} to {max_ms}: {found}'
            rows += found
    return out


def sample_series(data):
    """The same of an answer with samples: {labels: [(ts_ms, bits)]}; data is unpacked from snappy. Floats only."""
    out = {}
    for index, (number, result) in enumerate(fields(data)):
        assert number == 1
        for _, one in fields(result):
            labels, rows = {}, []
            for number, value in fields(one):
                pairs = dict(fields(value))
                if number == 1:
                    labels[pairs[1].decode()] = pairs[2].decode()
                elif number == 2:
                    rows.append((signed(pairs.get(2, 0)), struct.unpack('<Q', pairs.get(1, bytes(8)))[0]))
            out[index, tuple(sorted(labels.items()))] = rows
    return out
