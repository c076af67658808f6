"""What native histograms are asked for, calculated from their buckets as the API shows them.

Prometheus 2.42 interpolates otherwise than 3, or lacks the function. But its buckets are right, so what 3 makes of them is known: its
specification says that the observations of a bucket are spread evenly on a logarithmic scale, those of the zero bucket evenly.
"""
import math

CLOSED = 3  # both bounds belong to the bucket: the one around zero


def buckets(histogram):
    """(lower, upper, count, is_zero), in order. The zero bucket ends at 0 if there is nothing on that side of it."""
    rows = [(rule == CLOSED, float(lower), float(upper), float(count)) for rule, lower, upper, count in histogram.get('buckets', ())]
    has_negative = any(upper <= 0 for is_zero, _, upper, _ in rows if not is_zero)
    has_positive = any(lower >= 0 for is_zero, lower, _, _ in rows if not is_zero)
    for is_zero, lower, upper, count in rows:
        if is_zero and has_positive and not has_negative:
            lower = 0.0
        if is_zero and has_negative and not has_positive:
            upper = 0.0
        yield lower, upper, count, is_zero


def value_at(lower, upper, is_zero, share):
    if is_zero:
        return lower + (upper - lower) * share
    return lower * (upper / lower)**share


def share_below(lower, upper, is_zero, value):
    if value <= lower or value >= upper:
        return 0.0 if value <= lower else 1.0
    if is_zero:
        return (value - lower) / (upper - lower)
    return math.log(value / lower) / math.log(upper / lower)


def quantile(histogram, q):
    """Counted from the end that is nearer."""
    total = float(histogram['count'])
    if math.isnan(q) or not 0 <= q <= 1:
        return math.nan if math.isnan(q) else math.copysign(math.inf, q)
    if total == 0:
        return math.nan
    is_forward = q < 0.5
    rank, seen = (q if is_forward else 1 - q) * total, 0.0
    rows = list(buckets(histogram))
    for lower, upper, count, is_zero in rows if is_forward else reversed(rows):
        seen += count
        if seen >= rank:
            break
    share = min((rank - (seen - count)) / count, 1.0)
    return value_at(lower, upper, is_zero, share if is_forward else 1 - share)


def fraction(histogram, lower, upper):
    total = float(histogram['count'])
    if total == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan
    if lower >= upper:
        return 0.0
    return sum(count * (share_below(left, right, is_zero, upper) - share_below(left, right, is_zero, lower))
               for left, right, count, is_zero in buckets(histogram)) / total


def average(histogram):
    total = float(histogram['count'])
    return float(histogram['sum']) / total if total else math.nan


def variance(histogram):
    """Each observation stands at the geometric middle of its bucket, those around zero at 0."""
    total, mean = float(histogram['count']), average(histogram)
    if total == 0:
        return math.nan
    out = 0.0
    for lower, upper, count, is_zero in buckets(histogram):
        middle = 0.0 if is_zero else math.copysign(math.sqrt(abs(lower)) * math.sqrt(abs(upper)), lower + upper)
        out += count * (middle - mean)**2
    return out / total


def deviation(histogram):
    return math.sqrt(variance(histogram))
