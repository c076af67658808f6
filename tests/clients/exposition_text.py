"""Prometheus text 0.0.4, read strictly enough to compare what two programs expose."""
import re

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Exposition:
    """families: {name: (type, help)}; series: {(name, ((label, value), …)): value}, labels sorted."""

    def __init__(self, text):
        self.families, self.series = {}, {}
        helps, current = {}, None
        for line in text.splitlines():
            if line.startswith('# HELP '):
                name, _, helps['text'] = line[7:].partition(' ')
            elif line.startswith('# TYPE '):
                current, kind = line[7:].split(' ')
                assert current not in self.families, f'{current} is there twice'
                self.families[current] = (kind, helps.pop('text', ''))
            elif line and not line.startswith('#'):
                self.add(line, current)

    def add(self, line, current):
        name, brace, rest = line.partition('{')
        labels = ()
        if brace and ' ' not in name:
            body, _, value = rest.rpartition('} ')
            labels, at = [], 0
            while at < len(body):
                match = LABEL.match(body, at)
                assert match, line
                labels.append(match.groups())
                at = match.end()
            labels = tuple(sorted(labels))
        else:
            name, _, value = line.rpartition(' ')
        assert current and name.startswith(current), f'{line}: below {current}'
        assert (name, labels) not in self.series, f'{line}: twice'
        self.series[name, labels] = float(value)

    def family(self, name):
        """Of a series' name: summaries and histograms have longer ones."""
        while name not in self.families:
            name = name.rpartition('_')[0]
        return name
