"""A server under test: started, asked, stopped."""
import atexit
import http.client
import json
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

# How long what is done at once on an idle machine may take on a busy one. Only what fails waits so long.
WAIT_SECONDS = 120

reservations = []  # of ports, until this process ends
running = []


@atexit.register
def stop_all():
    """A test that fails while it starts its servers leaves none of them behind."""
    for server in running[::-1]:
        server.stop()


def free_port():
    """
    One that nobody else gets while this test runs. It is not the system's choice: that is from the range which the other ends of connections
    come from, too, so that any connection made before the server listens, or while it is started again, could take it. What is reserved
    here is a name that all tests on the machine have in common, which goes with the process.
    """
    with open('/proc/sys/net/ipv4/ip_local_port_range', encoding='ascii') as file:
        first = int(file.read().split()[0])
    candidates = range(10000, first) if first > 12000 else range(10000, 65536)
    for port in random.SystemRandom().sample(candidates, 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reservation = socket.socket(socket.AF_UNIX)
            try:
                reservation.bind(f'\0apiary-test-port-{port}')
                probe.bind(('127.0.0.1', port))
            except OSError:
                reservation.close()
                continue
            reservations.append(reservation)
            return port
    raise RuntimeError('no port is free')


class Connection:
    """Kept open; one thread at a time. It waits for longer than any query may take."""

    def __init__(self, port, timeout_s=WAIT_SECONDS):
        self.http = http.client.HTTPConnection('127.0.0.1', port, timeout=timeout_s)
        self.used = time.monotonic()

    def ask(self, path, form):
        """The body, whatever the status."""
        if time.monotonic() - self.used > 20:  # the other one took long meanwhile: a server closes what is idle
            self.http.close()
        try:
            self.http.request('POST', path, urllib.parse.urlencode(form), {'Content-Type': 'application/x-www-form-urlencoded'})
            return self.http.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            self.http.close()  # the next one opens it again
            return json.dumps({'status': 'error', 'errorType': 'no answer', 'error': f'port {self.http.port}: {error!r}'}).encode()
        finally:
            self.used = time.monotonic()


class Server:
    def __init__(self, name, arguments, port, write_path, directory, env=None):
        self.name = name
        self.port = port
        self.write_path = write_path
        self.log = open(directory / f'{name}.log', 'wb')
        self.process = subprocess.Popen(arguments, stdout=self.log, stderr=self.log, cwd=directory, env=env)
        running.append(self)

    def wait(self, path='/-/ready'):
        """Until it answers."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f'{self.name} ended by itself:\n{self.log_text()[-3000:]}')
            try:
                with urllib.request.urlopen(self.url(path), timeout=30) as answer:
                    if answer.status == 200:
                        return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise RuntimeError(f'{self.name} is not ready after {WAIT_SECONDS} s:\n{self.log_text()[-3000:]}')

    def log_text(self):
        return pathlib.Path(self.log.name).read_text(encoding='utf-8', errors='replace')

    def url(self, path='', **form):
        return f'http://127.0.0.1:{self.port}{path}' + ('?' + urllib.parse.urlencode(form, doseq=True) if form else '')

    def get(self, path, **form):
        """What the JSON of the answer says."""
        with urllib.request.urlopen(self.url(path, **form), timeout=WAIT_SECONDS) as answer:
            return json.load(answer)

    def get_text(self, path, **form):
        with urllib.request.urlopen(self.url(path, **form), timeout=WAIT_SECONDS) as answer:
            return answer.read().decode()

    def write(self, data):
        headers = {'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy', 'X-Prometheus-Remote-Write-Version': '0.1.0'}
        request = urllib.request.Request(self.url(self.write_path), data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            raise RuntimeError(f'{self.name} refused the samples: {error.code}: {error.read().decode("utf-8", "replace")}') from None

    def kill(self):
        self.process.kill()
        self.ended()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.ended()

    def ended(self):
        """Waits until it is, and gives its status."""
        status = self.process.wait(WAIT_SECONDS)
        self.log.close()
        if self in running:
            running.remove(self)
        return status
