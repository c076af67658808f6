"""PostgreSQL clusters of a test's own, the exporter beside them, and servers that do not answer."""
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import threading

from harness import WAIT_SECONDS, Server, free_port, until

BIN = pathlib.Path('/usr/lib/postgresql/15/bin')
PASSWORD = 'open sesame'  # with a blank, which a connection string must quote
EXPORTERS_PASSWORD = 'plain'  # it cannot take one with a blank


def other_user():
    """PostgreSQL does not run as root: who it is then, as arguments of subprocess."""
    if os.geteuid() != 0:
        return {}
    for name in ('postgres', 'nobody'):
        try:
            entry = pwd.getpwnam(name)
            return {'user': entry.pw_uid, 'group': entry.pw_gid, 'extra_groups': []}
        except KeyError:
            pass
    raise SystemExit('as root there must be a user postgres or nobody to run PostgreSQL as')


class Cluster:
    """A server on a free port of loopback, which asks for a password."""

    def __init__(self, directory, name, settings='', copy_of=None):
        self.directory, self.name, self.port = directory, name, free_port()
        self.data = directory / name
        self.user = other_user()
        self.process = None
        self.log = open(directory / f'{name}.log', 'wb')
        if copy_of:
            self.tool('pg_basebackup', '-h', '127.0.0.1', '-p', str(copy_of.port), '-U', 'postgres', '-D', str(self.data), '-R', '-C', '-S', name,
                      '-c', 'fast')
        else:
            secret = directory / f'{name}.secret'
            secret.write_text(PASSWORD)
            os.chmod(secret, 0o644)  # in a directory that is the test's own
            self.tool('initdb', '-D', str(self.data), '-A', 'scram-sha-256', '-U', 'postgres', '--pwfile', str(secret), '-E', 'UTF8', '--locale', 'C.UTF-8')
            (self.data / 'postgresql.conf').open('a').write(
                f"shared_preload_libraries = 'pg_stat_statements'\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
                f"track_io_timing = on\nmax_wal_senders = 4\n{settings}")
        self.start()

    def environment(self):
        return {**os.environ, 'PGPASSWORD': PASSWORD, 'LC_ALL': 'C.UTF-8'}

    def tool(self, name, *arguments):
        done = subprocess.run([BIN / name, *arguments], cwd='/', env=self.environment(), capture_output=True, text=True, timeout=WAIT_SECONDS, **self.user)
        assert done.returncode == 0, f'{name} {" ".join(arguments)}: {done.stdout}{done.stderr}'
        return done.stdout

    def start(self):
        self.process = subprocess.Popen([BIN / 'postgres', '-D', self.data, '-p', str(self.port)], cwd='/', env=self.environment(), stdout=self.log,
                                        stderr=self.log, **self.user)
        until(f'{self.name}; see {self.log.name}', self.is_ready)

    def is_ready(self):
        assert self.process.poll() is None, f'{self.name} ended by itself; see {self.log.name}'
        return subprocess.run([BIN / 'pg_isready', '-q', '-h', '127.0.0.1', '-p', str(self.port)], timeout=WAIT_SECONDS).returncode == 0

    def stop(self):
        """A fast shutdown: sessions are ended."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(WAIT_SECONDS)

    def close(self):
        self.stop()
        self.log.close()

    def uri(self, database='postgres', user='postgres', port=None):
        return f'postgresql://{user}@127.0.0.1:{port or self.port}/{database}'

    def sql(self, *statements, database='postgres'):
        """What the last of them gives: rows of texts. Each is a transaction of its own."""
        arguments = [part for statement in statements for part in ('-c', statement)]
        text = self.tool('psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-F', '\x1f', '-R', '\x1e', '-d', self.uri(database), *arguments)
        return [row.split('\x1f') for row in text.rstrip('\n').split('\x1e')] if text.strip() else []


class Exporter(Server):
    """Debian's postgres_exporter, as it is without options; as a role `exporter`, which the test makes."""

    def __init__(self, directory, cluster, database='postgres'):
        port = free_port()
        source = f'postgresql://exporter:{EXPORTERS_PASSWORD}@127.0.0.1:{cluster.port}/{database}?sslmode=disable'
        super().__init__(f'exporter-{cluster.name}', ['prometheus-postgres-exporter', f'--web.listen-address=127.0.0.1:{port}'], port, '', directory,
                         env={**os.environ, 'DATA_SOURCE_NAME': source})
        self.wait('/')

    def read(self):
        return Page(self.get_text('/metrics'))


class Page:
    """Prometheus text: families with type and help, samples by name and labels without a value left out."""

    def __init__(self, text):
        self.text, self.families, self.samples = text, {}, {}
        done, last = set(), None
        for line in text.rstrip('\n').split('\n'):
            comment = re.match(r'# (HELP|TYPE) (\S+) (.*)$', line)
            if comment:
                self.families.setdefault(comment[2], {})[comment[1]] = comment[3]
                name = comment[2]
            else:
                name, labels, value = re.fullmatch(r'([a-zA-Z_][a-zA-Z0-9_]*)(?:\{(.*)\})? (\S+)', line).groups()
                pairs = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', labels or '')
                key = (name, frozenset((label, unescape(text)) for label, text in pairs if text))
                assert key not in self.samples, f'twice: {line}'
                self.samples[key] = float(value)
            # One group for each family, however many answers it is from (histograms and summaries are not looked at).
            if name != last:
                assert name not in done or name.endswith(('_sum', '_count', '_bucket')) or '_seconds' in name, f'{name} is in two places'
                done.add(last)
                last = name

    def get(self, name, **labels):
        """The value of the one sample with these labels among others."""
        found = [value for (metric, pairs), value in self.samples.items() if metric == name and set(labels.items()) <= pairs]
        assert len(found) == 1, f'{name}{labels}: {len(found)} samples'
        return found[0]

    def labels(self, name):
        return [dict(pairs) for metric, pairs in self.samples if metric == name]

    def values(self, name):
        return [value for (metric, _), value in self.samples.items() if metric == name]


def unescape(text):
    return re.sub(r'\\(.)', lambda match: {'n': '\n'}.get(match[1], match[1]), text)


class StallingProxy:
    """Hands bytes on to a server until its answers are `limit` bytes; then both sides wait for ever."""

    def __init__(self, port, limit):
        self.target, self.limit = port, limit
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                if self.limit == 0:
                    continue
                server = socket.create_connection(('127.0.0.1', self.target))
                self.sockets.append(server)
                threading.Thread(target=self.hand_on, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self.hand_on, args=(server, client, self.limit), daemon=True).start()
        except OSError:
            pass  # closed

    @staticmethod
    def hand_on(source, target, left):
        try:
            while left is None or left > 0:
                data = source.recv(4096 if left is None else min(left, 4096))
                if not data:
                    target.close()
                    return
                target.sendall(data)
                left = None if left is None else left - len(data)
        except OSError:
            pass

    def close(self):
        for one in self.sockets:
            one.close()
