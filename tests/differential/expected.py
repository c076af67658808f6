"""Where Prometheus 3, whose language Apiary speaks, answers otherwise than the Prometheus 2.42 that Debian has.

One function for each; docs/promql-differences.md tells people the same. Each gets a query and one difference of its answers."""
import re

import answers
import queries


def is_expected(query, difference):
    return any(rule(query, difference) for rule in RULES)


def deviation_of_one(query, difference):
    """The deviation of one value that is NaN or infinite was 0, and is NaN."""
    if not re.search(r'\bstd(dev|var)\b', query):
        return False
    return difference.what == 'value' and difference.ours == 'NaN'


def rounding(query, difference):
    """Sums are compensated in 3.x: what is left of numbers of 1 and more that cancel each other is 0, or less than before."""
    if difference.what != 'value' or not answers.LOOSE.search(query) or not isinstance(difference.theirs, str):
        return False
    theirs, ours = answers.number(difference.theirs), answers.number(difference.ours)
    return abs(theirs - ours) < 1e-14 or max(abs(theirs), abs(ours)) < 1e-11


def sum_of_minus_zero(query, difference):
    """A sum of nothing but -0 is 0 in 3.x, because what was lost is added to it; that may be seen by what is made of it."""
    if difference.what != 'value' or not re.search(r'\b(sum|avg)\b', query) or not isinstance(difference.theirs, str):
        return False
    return 'odd' in query and answers.number(difference.theirs) == -answers.number(difference.ours)


def zero_among_zeros(query, difference):
    """Whether 0 or -0 is the smaller one is not defined where values are sorted, nor which series comes first where 2.42 has calculated
    them over a span of time."""
    if difference.what != 'value' or not isinstance(difference.theirs, str):
        return False
    return re.search(r'\b(quantile|quantile_over_time|min|max)\b', query) and {difference.theirs, difference.ours} == {'0', '-0'}


def said_otherwise(query, difference):
    """Of what cannot be parsed, and of regular expressions, only that it is so and what kind of error it is; of many-to-many matching of
    what was calculated, not which of the series. And 2.42 tells the parameter's name in one of the two ways to ask only."""
    if difference.what != 'error':
        return False
    theirs, ours = (text.removeprefix('invalid parameter "query": ') for text in (difference.theirs, difference.ours))
    marks = ['parse error: ', 'invalid regular expression in label_replace()']
    if query not in queries.FAILING:
        marks.append('many-to-many matching not allowed')
    return theirs == ours or any(mark in theirs and mark in ours for mark in marks)


NEWER = re.compile('|'.join((
    r'label name in (label_join|label_replace)\(\): |invalid label name "',  # may be any text
    r'parse error: (unexpected (duration|number|<op:[+-]> in offset)|missing unit character in duration)',  # durations and numbers stand for each other, with signs
    r'parse error: unexpected (<bool>|<on>)',  # may be names of metrics
    r'parse error: unexpected metric identifier "[^"]*" in grouping opts')))  # labels may have a colon in front


def newer_language(query, difference):
    """What can be said since 3.0 only."""
    return difference.what == 'status' and difference.ours == 'success' and NEWER.search(difference.theirs)


RULES = (deviation_of_one, rounding, sum_of_minus_zero, zero_among_zeros, said_otherwise, newer_language)
