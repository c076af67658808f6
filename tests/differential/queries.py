"""Random queries that type-check, about the series of samples.py.

Prometheus 3 sums with compensation and 2.42 does not, and powers differ in the last bit. So nothing here makes much out of little:
remainders, comparisons and differences are of what was measured, and not of what was calculated. Of native histograms there is what
2.42 knows already; what 3 does otherwise with the same histograms is calculated by figures.py. A small share of the queries fail."""
import functools
import random
import typing

import figures

COUNTERS = ('cpu_seconds_total', 'http_requests_total', 'request_seconds_bucket')
GAUGES = ('temperature_celsius', 'memory_bytes', 'memory_limit_bytes', 'entropy', 'odd', 'up')
RANGES = ('30s', '1m', '5m', '10m', '1h', '90s')
LABELS = ('instance', 'job', 'mode', 'code', 'handler', 'sensor', 'le')
RATES = ('rate', 'increase')  # of counters only, see samples.counter()
CHANGES = ('irate', 'resets', 'changes', 'delta', 'idelta', 'deriv')
OVER_TIME = ('sum_over_time', 'avg_over_time', 'min_over_time', 'max_over_time', 'count_over_time', 'last_over_time',
             'present_over_time', 'stddev_over_time', 'stdvar_over_time', 'absent_over_time')
ELEMENTS = ('abs', 'ceil', 'floor', 'exp', 'sqrt', 'ln', 'log2', 'log10', 'sgn', 'sin', 'cos', 'tan', 'atan', 'sinh', 'cosh', 'tanh',
            'deg', 'rad', 'acos', 'asin', 'acosh', 'asinh', 'atanh', 'round', 'hour', 'minute', 'month', 'year',
            'day_of_month', 'day_of_week', 'day_of_year', 'days_in_month')
AGGREGATIONS = ('sum', 'avg', 'min', 'max', 'count', 'group')
MATCHERS = ('job="api"', 'job!="api"', 'job=~"a.*"', 'job!~"w.*"', 'instance=~"host-[0-2].*"', 'instance="host-1:9100"', 'code=~"4..|5.."',
            'mode!=""', 'sensor=""', 'nothing=""', 'instance=~".+"', 'le=~"0.*"')

SORTED = ('sort(', 'sort_desc(', 'topk (', 'bottomk (')  # whose instant answers have an order
FAILING = ('cpu_seconds_total + on (job) up', 'up + on (job) memory_bytes', 'up / ignoring (instance) memory_bytes', 'memory_bytes > on (job) group_left up',
           'up * on (job) group_right memory_bytes', 'build_info * on (job) group_left (version) build_info',
           'cpu_seconds_total + on (instance, job) group_left (mode) memory_bytes', 'up == on (instance) up',
           'label_replace(up, "job", "x", "", "")', 'label_replace(cpu_seconds_total, "mode", "", "", "")', 'label_replace(up, "a-b", "x", "", "")',
           'label_replace(up, "a", "x", "job", "(")', 'label_join(up, "a-b", "-", "job")', 'label_join(up, "job", "-")', 'count_values("a-b", up)',
           '{__name__=~"memory.*"} * 1', '-{__name__=~"up|memory_bytes"}', '{__name__=~"up|memory_bytes"} + 0', 'rate({__name__=~".*_total"}[5m])', 'rate(up)', 'sum(up[5m])', 'up[5m] + 1',
           'abs()', 'abs(up, up)', 'round(up, up)', 'nothing(up)', 'up +', '(up', 'up)', '1 > 2', '1 == 1', '"a" + 1', '-"a"', 'up offset', 'up offset 5x', '{job=~".*"}',
           '{}', 'up{job="a"', 'up{job=a}', 'up{job}', 'up{,}', 'up[5x]', 'up[0s]', 'up[]', 'up[5m:', 'up[5m][5m]', 'sum by (1) (up)', 'sum by (job (up)', 'topk(up, up)',
           'topk(1)', 'topk(1, 2)', 'sum()', 'sum(1)', 'sum(up, up)', 'quantile("a", up)', 'count_values(1, up)', 'up and 1', '1 or up', 'up and bool up', 'up + bool up',
           'up + on (job) group_left (job) up', 'up and on (job) group_left up', '1 + on (job) 2', 'up @ up', 'up @ start', 'up @ "a"', 'up @ Inf', 'up @ 1 @ 2',
           'up offset 1m offset 2m', 'vector(up)', 'scalar(1)', 'time(1)', 'hour(1)', '5m', 'up{job=~"("}', 'up{__name__="down"}', '"open', "'open", 'up{job="\\z"}', '1 2', 'up up',
           '#', '', '!', 'up ! up', 'up = up', 'up =~ "a"', '1.2.3', '0x', '1e', 'up[5m] offset 1m @ 0 [5m]', 'sum without up', 'by (job)', 'bool', 'on', 'histogram_quantile(up, up)',
           'absent_over_time(up)', 'label_replace(up, 1, "", "", "")', 'up unless', 'up if up', 'up * * up', 'up // up')


class Query(typing.NamedTuple):
    text: str
    inner: str = ''  # what Prometheus is asked instead,
    figure: typing.Optional[typing.Callable] = None  # and what 3 makes of each of those histograms


class Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.is_in_subquery = False

    def pick(self, *choices):
        return self.rng.choice(choices)

    def number(self):
        return self.pick('0', '1', '2', '-1', '0.5', '100', '1e3', '3.7', 'Inf', 'NaN', '-0.25')

    def selector(self, names=None):
        name = self.rng.choice(names or COUNTERS + GAUGES)
        matchers = self.rng.sample(MATCHERS, self.pick(0, 0, 1, 1, 2))
        return name + ('{' + ','.join(matchers) + '}' if matchers else '')

    def when(self):
        return self.pick(*[''] * 8, ' offset 5m', ' offset -2m', ' offset 33s', ' @ 1790003600.5', ' @ end()', ' @ start()')

    def range_vector(self, names=None):
        if self.rng.random() < 0.12 and not self.is_in_subquery:
            self.is_in_subquery = True  # one in another would have samples on the edges of its windows
            inner = self.vector(2)
            self.is_in_subquery = False
            return f'({inner})[{self.pick("5m", "10m", "30m")}:{self.pick("30s", "1m", "")}]{self.when()}'
        return f'{self.selector(names)}[{self.rng.choice(RANGES)}]{self.when()}'

    def labels(self):
        return ', '.join(self.rng.sample(LABELS, self.pick(0, 1, 1, 2)))

    def scalar(self, depth):
        kind = self.rng.random()
        if depth <= 0 or kind < 0.6:
            return self.number()
        if kind < 0.7:
            return f'scalar({self.vector(depth - 1)})'
        if kind < 0.8:
            return 'time()'
        return f'({self.scalar(depth - 1)} {self.pick("+", "-", "*", "/")} {self.scalar(depth - 1)})'

    def aggregation(self, depth):
        by = self.pick('', f' by ({self.labels()})', f' without ({self.labels()})')
        kind = self.rng.random()
        if kind < 0.65:
            return f'{self.rng.choice(AGGREGATIONS)}{by} ({self.vector(depth - 1)})'
        if kind < 0.8:
            # 2.42 takes the deviation of one value that is NaN or infinite for 0, which others may be compared with.
            finite = self.selector([name for name in COUNTERS + GAUGES if name != 'odd'])
            return f'{self.pick("stddev", "stdvar")}{by} ({finite}{self.when()})'
        if kind < 0.9:
            return f'quantile{by} ({self.pick("0", "0.5", "0.9", "1", "0.33")}, {self.vector(depth - 1)})'
        if kind < 0.95:
            return f'count_values{by} ("v", {self.pick("round", "floor", "sgn")}({self.selector()}))'
        # Values of these differ, so that it is clear who is chosen.
        return f'{self.pick("topk", "bottomk")}{by} ({self.pick("1", "3", "5")}, {self.pick("entropy", "-entropy", "deriv(entropy[10m])")})'

    def binary(self, depth):
        operator = self.pick('+', '-', '*', '/', '%', '^', 'atan2', '==', '!=', '<', '>', '<=', '>=')
        is_comparison = operator in ('==', '!=', '<', '>', '<=', '>=')
        is_bool = is_comparison and self.rng.random() < 0.5
        if is_comparison or operator == '%':
            depth = 1
        text = operator + (' bool' if is_bool else '')
        kind = self.rng.random()
        if kind < 0.35:
            return f'{self.vector(depth - 1)} {text} {self.number() if depth == 1 else self.scalar(depth - 1)}'
        if kind < 0.5:
            return f'{self.number()} {text} {self.vector(depth - 1)}'
        if kind < 0.65:
            both = f'instance, job'
            return f'{self.pick("memory_bytes", "temperature_celsius")} {text} on ({both}) {self.pick("memory_limit_bytes", "entropy", "up")}'
        if kind < 0.8:
            side = self.selector(COUNTERS[:2])
            inner = side if is_comparison or operator == '%' else f'rate({side}[5m])'
            return f'{inner} {text} on (instance, job) group_left ({self.pick("", "version", "version, arch")}) build_info'
        if kind < 0.9:
            return f'{self.vector(depth - 1)} {self.pick("and", "or", "unless")} {self.pick("", "on (instance) ", "ignoring (mode, code) ")}{self.vector(depth - 1)}'
        same = self.vector(depth - 1)
        return f'{same} {text} {self.pick("", "ignoring (nothing) ")}{same}'

    def call(self, depth):
        kind = self.rng.random()
        if kind < 0.12:
            return f'{self.rng.choice(RATES)}({self.selector(COUNTERS)}[{self.rng.choice(RANGES)}]{self.when()})'
        if kind < 0.25:
            return f'{self.rng.choice(CHANGES)}({self.selector()}[{self.rng.choice(RANGES)}]{self.when()})'
        if kind < 0.45:
            return f'{self.rng.choice(OVER_TIME)}({self.range_vector()})'
        if kind < 0.5:
            return f'quantile_over_time({self.pick("0", "0.5", "0.9", "1", "-1", "2")}, {self.range_vector()})'
        if kind < 0.55:
            return f'predict_linear({self.selector(GAUGES)}[{self.rng.choice(RANGES)}], {self.scalar(1)})'
        if kind < 0.7:
            return f'{self.rng.choice(ELEMENTS)}({self.vector(0)})'
        if kind < 0.75:
            return f'clamp({self.vector(depth - 1)}, {self.number()}, {self.number()})'
        if kind < 0.79:
            return f'{self.pick("clamp_min", "clamp_max", "round")}({self.vector(depth - 1)}, {self.pick("0.5", "1", "-3", "10")})'
        if kind < 0.83:
            return f'label_replace({self.vector(depth - 1)}, "new", "$1-x", "instance", "(.*):.*")'
        if kind < 0.86:
            return f'label_join({self.vector(depth - 1)}, "new", "-", "job", "instance")'
        if kind < 0.93:
            q = self.pick('0', '0.5', '0.9', '0.99', '1', '-1', '2')
            inner = self.pick('request_seconds_bucket', 'rate(request_seconds_bucket[5m])',
                              'sum by (le, job) (rate(request_seconds_bucket[10m]))', 'sum by (le) (increase(request_seconds_bucket[1m]))')
            return f'histogram_quantile({q}, {inner})'
        if kind < 0.94:
            return f'timestamp({self.selector()}{self.when()}) - time()'
        if kind < 0.95:
            return f'absent({self.selector()})'
        if kind < 0.97:
            return f'vector({self.scalar(depth - 1)})'
        return f'{self.pick("sort", "sort_desc")}({self.vector(depth - 1)})'

    def vector(self, depth):
        if depth <= 0:
            return self.selector() + self.when()
        kind = self.rng.random()
        if kind < 0.12:
            return self.selector() + self.when()
        if kind < 0.45:
            return self.call(depth)
        if kind < 0.7:
            return self.aggregation(depth)
        if kind < 0.95:
            text = self.binary(depth)
            # 2.42 forgot that atan2 drops a metric's name.
            return f'(({text}) + 0)' if 'atan2' in text else f'({text})'
        return '-' + self.selector()

    def histogram(self, depth):
        """A vector of native histograms that count up, so that no bucket is below 0."""
        kind = self.rng.random()
        if depth <= 0 or kind < 0.3:
            return self.selector(('latency_seconds', 'latency_seconds', 'payload_bytes')) + self.when()
        if kind < 0.65:
            return f'{self.rng.choice(RATES)}({self.selector(("latency_seconds",))}[{self.rng.choice(RANGES)}]{self.when()})'
        if kind < 0.85:
            by = self.pick('', f' by ({self.labels()})', f' without ({self.labels()})')
            return f'sum{by} ({self.histogram(depth - 1)})'
        if kind < 0.93:
            same = self.histogram(depth - 1)
            return f'({same} + {self.pick("", "ignoring (nothing) ")}{same})'
        both = self.histogram(depth - 1)
        return f'({both} {self.pick("and", "or", "unless")} {self.pick("", "on (instance) ", "ignoring (code) ")}{self.selector(("latency_seconds", "up"))})'

    def figure(self):
        """What is asked of histograms, and how to know it."""
        inner = self.histogram(2)
        q = self.pick('0', '0.1', '0.5', '0.9', '0.99', '1', '-1', '2', 'NaN')
        low, high = self.pick('-Inf', '-1', '0', '0.3', '1'), self.pick('Inf', '0', '0.5', '2', '7.5', 'NaN')
        return self.pick(
            Query(f'histogram_quantile({q}, {inner})', inner, functools.partial(figures.quantile, q=float(q))),
            Query(f'histogram_fraction({low}, {high}, {inner})', inner, functools.partial(figures.fraction, lower=float(low), upper=float(high))),
            Query(f'histogram_avg({inner})', inner, figures.average),
            Query(f'histogram_stdvar({inner})', inner, figures.variance),
            Query(f'histogram_stddev({inner})', inner, figures.deviation))

    def of_histograms(self):
        kind = self.rng.random()
        names = ('latency_seconds', 'payload_bytes')
        if kind < 0.3:
            return self.histogram(3)
        if kind < 0.7:
            inner = self.pick(*[self.histogram(2)] * 4, 'latency_seconds or up', '{__name__=~"payload_bytes|up"}')
            return f'{self.pick("histogram_count", "histogram_sum")}({inner})'
        if kind < 0.8:
            by = self.pick('', f' by ({self.labels()})')
            inner = self.pick(self.selector(names), '{__name__=~"latency_seconds|up|entropy"}')
            return f'{self.pick("count", "group")}{by} ({inner})'
        if kind < 0.9:
            return f'{self.pick("count_over_time", "present_over_time")}({self.selector(names)}[{self.rng.choice(RANGES)}]{self.when()})'
        if kind < 0.95:
            return f'timestamp({self.selector(names)}{self.when()}) - time()'
        return f'absent({self.selector(names)})'

    def renamed(self):
        """What 2.42 calls otherwise."""
        arguments = f'({self.range_vector(GAUGES)}, {self.pick("0.1", "0.5", "0.9")}, {self.pick("0.1", "0.5", "0.9")})'
        return Query(f'double_exponential_smoothing{arguments}', f'holt_winters{arguments}')

    def whole(self):
        """What is not a vector of numbers: samples as they are, text, times."""
        return self.pick(self.range_vector(), self.range_vector(('latency_seconds', 'payload_bytes')), '"text \\x41"', "'\\u00e9'", '`raw \\n`',
                         self.pick(*ELEMENTS[-8:]) + '()', 'pi()', f'-{self.vector(1)}', f'{self.vector(1)} or vector(0)')

    def failing(self):
        """Mostly: some of what is left of a query that was damaged is one."""
        if self.rng.random() < 0.5:
            return self.rng.choice(FAILING)
        text = self.vector(2)
        at = self.rng.randrange(len(text))
        return self.pick(text[:at], text[:at] + text[at + 1:], text[:at] + self.pick(*'(){}[],:"\'+-@#!=~<>', ' by ', ' on ', ' offset ', ' bool ', '5', '5m') + text[at:])

    def query(self):
        kind = self.rng.random()
        if kind < 0.04:
            return Query(self.scalar(3))
        if kind < 0.08:
            return Query(self.failing())
        if kind < 0.16:
            return Query(self.of_histograms())
        if kind < 0.2:
            return self.figure()
        if kind < 0.21:
            return self.renamed()
        if kind < 0.24:
            return Query(self.whole())
        return Query(self.vector(self.pick(1, 2, 2, 3)))
