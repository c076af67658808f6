"""Two answers of the API, compared: to the last bit, or where that cannot be, to 1e-9 of the value (see LOOSE)."""
import json
import math
import re
import typing

TOLERANCE = 1e-9

# A query with one of these is compared to TOLERANCE, every other one to the last bit.
LOOSE = re.compile(r'''\b(
    sum | avg | stddev | stdvar                         # 3.x compensates its sums
  | avg_over_time                                       # and its means
  | exp | ln | log2 | log10 | a?(sin|cos|tan)h? | atan2 # Go's own there, the C library's here
  | histogram_(quantile|fraction|avg|stddev|stdvar)     # calculated by figures.py
)\b|\^''', re.VERBOSE)


class Difference(typing.NamedTuple):
    what: str  # 'status', 'error', 'type', 'twice', 'order', 'series', 'point', 'value'
    labels: str = ''
    ts: float = 0
    theirs: object = None
    ours: object = None

    def __str__(self):
        at = f' at {self.ts:.3f}' if self.ts else ''
        return f'{self.what} {self.labels}{at}: {self.theirs} | {self.ours}'


def number(text):
    return math.nan if text == 'NaN' else float(text)


def are_equal(left, right, is_exact):
    """Of floats; NaN is NaN. Exactly so: 0 is not -0."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    if left == right:
        return not is_exact or math.copysign(1, left) == math.copysign(1, right)
    if is_exact or math.isinf(left) or math.isinf(right):
        return False
    return abs(left - right) <= TOLERANCE * max(abs(left), abs(right))


def are_same(left, right, is_exact):
    """Of values as JSON has them: text, or an object that is a histogram. Bounds of buckets are the same to the last bit in any case."""
    if isinstance(left, dict) != isinstance(right, dict):
        return False
    if not isinstance(left, dict):
        return left == right or are_equal(number(left), number(right), is_exact)
    rows = left.get('buckets', []), right.get('buckets', [])
    return (all(are_equal(number(left[name]), number(right[name]), is_exact) for name in ('count', 'sum'))
            and [row[:3] for row in rows[0]] == [row[:3] for row in rows[1]]
            and all(are_equal(number(a[3]), number(b[3]), is_exact) for a, b in zip(*rows)))


def series(answer):
    """{labels: {time: value}} of any result, in its order."""
    data = answer['data']
    if data['resultType'] in ('scalar', 'string'):
        return {'': {data['result'][0]: data['result'][1]}}
    out = {}
    for row in data['result']:
        key = json.dumps(row['metric'], sort_keys=True)
        points = row.get('values', []) + row.get('histograms', []) + [row[name] for name in ('value', 'histogram') if name in row]
        if key in out:
            raise ValueError(f'{key} is there twice')
        out[key] = dict(points)
        if len(out[key]) != len(points):
            raise ValueError(f'{key} has a time twice')
    return out


def values(found):
    return [value for points in found.values() for value in points.values()]


def compare(theirs, ours, is_exact, order):
    """All differences, one after the other. order: None, or whether the series have to come in one by their 'labels' or their 'values'."""
    if theirs['status'] != ours['status']:
        yield Difference('status', theirs=theirs.get('error', 'success'), ours=ours.get('error', 'success'))
        return
    if theirs['status'] == 'error':
        for name in ('errorType', 'error'):
            if theirs[name] != ours[name]:
                yield Difference(name, theirs=theirs[name], ours=ours[name])
        return
    types = theirs['data']['resultType'], ours['data']['resultType']
    if types[0] != types[1]:
        yield Difference('type', theirs=types[0], ours=types[1])
        return
    try:
        left, right = series(theirs), series(ours)
    except ValueError as error:
        yield Difference('twice', theirs=len(theirs['data']['result']), ours=f'{len(ours["data"]["result"])}; {error}')
        return
    for key in dict.fromkeys([*left, *right]):
        if key not in left or key not in right:
            yield Difference('series', key, 0, left.get(key), right.get(key))
            continue
        a, b = left[key], right[key]
        for ts in dict.fromkeys([*a, *b]):
            if ts not in a or ts not in b:
                yield Difference('point', key, ts, a.get(ts), b.get(ts))
            elif a[ts] is not b[ts] and not are_same(a[ts], b[ts], is_exact):
                yield Difference('value', key, ts, a[ts], b[ts])
    if order and left.keys() == right.keys():
        pairs = zip(left, right) if order == 'labels' else zip(values(left), values(right))
        # By value: which of equal ones is first is not defined.
        if not all(a == b if order == 'labels' else are_same(a, b, is_exact) for a, b in pairs):
            yield Difference('order', theirs=list(left), ours=list(right))
