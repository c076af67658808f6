"""What the tests beside it share: servers, waiting for what they do, checks one after the other with a line for each."""
import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / 'tests' / 'differential'))
from servers import WAIT_SECONDS, Server, free_port  # for those that import this


def until(what, check):
    """What check() gives, as soon as it gives anything."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f'{what}: not within {WAIT_SECONDS} s')
        time.sleep(0.1)


def until_same(what, pair, difference=lambda theirs, ours: f'{theirs} | {ours}'):
    """
    Waits until both parts of pair() are the same and not empty: for what two programs come to by themselves, each in its own time. What is
    wrong stays wrong, and is told with the last difference.
    """
    last = []

    def check():
        last[:] = pair()
        return last[0] and last[0] == last[1]
    try:
        until(what, check)
    except AssertionError as error:
        raise AssertionError(f'{error}:\n{difference(*last)}') from None
    return last[0]


class Counts:
    """Checks within a test, each a line of its own."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, condition, detail=''):
        self.passed += bool(condition)
        self.failed += not condition
        print(f'{"ok  " if condition else "FAIL"} {name}{"" if condition else f": {detail}"}', flush=True)

    def same(self, name, got, want):
        self.check(name, got == want, f'\n  got  {got}\n  want {want}')


class Keyed(Counts):
    """A bench of one server, which is not started yet and has a key of each kind."""

    def __init__(self, directory, apiary):
        super().__init__()
        self.directory, self.apiary = directory, apiary
        self.port = free_port()
        self.server = None
        self.keys = {}
        for kind in ('viewer', 'secret', 'operator'):
            made = self.run('key', 'create', '--data', 'data', '--kind', kind, '--name', 'test', '--json')
            self.keys[kind] = json.loads(made.stdout)['token']

    def run(self, *arguments):
        """A command that asks this server, if it asks one."""
        return subprocess.run([self.apiary, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
                              env={**os.environ, 'APIARY_SERVER': f'http://127.0.0.1:{self.port}/', 'APIARY_KEY': self.keys.get('viewer', '')})

    def ask(self, method, path, body=None, kind='viewer', **headers):
        """Status and body, read as JSON where it is."""
        if kind:
            headers['Authorization'] = f'Bearer {self.keys[kind]}'
        if body is not None:
            headers['Content-Type'], body = 'application/json', json.dumps(body).encode()
        request = urllib.request.Request(f'http://127.0.0.1:{self.port}{path}', body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        with contextlib.suppress(ValueError):
            return status, json.loads(text)
        return status, text


def main(doc, make_bench, checks, options=(), mode=0o700, at_once=False):
    """
    Runs the checks with make_bench(directory, apiary, options of the command line), which has close() and may be Counts. The directory stays
    when one has failed. `options` are arguments of add_argument(). `at_once` is for checks that mostly wait: each has a bench of its own.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--apiary', default=os.environ.get('APIARY_BIN', str(ROOT / 'build' / 'apiary')))
    for name, settings in options:
        parser.add_argument(name, **settings)
    parser.add_argument('checks', nargs='*', help='only these')
    given = parser.parse_args()
    checks = [check for check in checks if not given.checks or check.__name__ in given.checks]
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f'apiary-{pathlib.Path(sys.argv[0]).name}-'))
    os.chmod(directory, mode)
    counts = Counts()

    def run(name, some):
        place = directory / name
        place.mkdir()
        os.chmod(place, mode)
        bench = make_bench(place, str(pathlib.Path(given.apiary).resolve()), given)
        try:
            for check in some:
                try:
                    check(bench)
                    if not isinstance(bench, Counts):
                        counts.check(check.__name__, True)
                except Exception:  # the others are to run all the same
                    counts.check(check.__name__, False, traceback.format_exc())
        finally:
            bench.close()
        if isinstance(bench, Counts):
            counts.passed += bench.passed
            counts.failed += bench.failed
    if at_once:
        with concurrent.futures.ThreadPoolExecutor(len(checks)) as pool:
            for done in [pool.submit(run, check.__name__, [check]) for check in checks]:
                done.result()
    else:
        run('bench', checks)
    if counts.failed:
        print(f'logs and data: {directory}')
    else:
        shutil.rmtree(directory, ignore_errors=True)
    print(f'{counts.passed} passed, {counts.failed} failed')
    return 1 if counts.failed or not counts.passed else 0
