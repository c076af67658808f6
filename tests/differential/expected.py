"""Where Prometheus 3, whose language Apiary speaks, answers otherwise than the Prometheus 2.42 that Debian has.

One function for each; docs/promql-differences.md tells people the same."""
import re


def is_expected(query, answers, reason):
    return any(rule(query, answers, reason) for rule in RULES)


def atan2_keeps_name(query, answers, reason):
    """2.42 forgot atan2 among the operators that drop a metric's name."""
    return 'atan2' in query and '__name__' in reason


def deviation_of_one(query, answers, reason):
    """The deviation of one value that is NaN or infinite was 0, and is NaN."""
    return re.search(r'std(dev|var)\b', query) and re.search(r': 0 \| NaN$|Inf|NaN|\bodd\b', query + reason)


def rounding(query, answers, reason):
    """Sums are compensated in 3.x: what is left of numbers of 1 and more that cancel each other is 0, or less than before."""
    found = re.search(r': (\S+) \| (\S+)$', reason)
    try:
        return found and all(abs(float(text)) < 1e-11 for text in found.groups())
    except ValueError:
        return False


RULES = (atan2_keeps_name, deviation_of_one, rounding)
