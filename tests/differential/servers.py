"""A server under test: started, asked, stopped."""
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Connection:
    """Kept open; one thread at a time."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection('127.0.0.1', port, timeout=60)

    def ask(self, path, form):
        """The body, whatever the status."""
        try:
            self.http.request('POST', path, urllib.parse.urlencode(form), {'Content-Type': 'application/x-www-form-urlencoded'})
            return self.http.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            self.http.close()  # the next one opens it again
            return json.dumps({'status': 'error', 'errorType': 'no answer', 'error': f'port {self.http.port}: {error!r}'}).encode()


class Server:
    def __init__(self, name, arguments, port, write_path, directory):
        self.name = name
        self.port = port
        self.write_path = write_path
        self.log = open(directory / f'{name}.log', 'wb')
        self.process = subprocess.Popen(arguments, stdout=self.log, stderr=self.log, cwd=directory)

    def wait(self):
        for _ in range(300):
            if self.process.poll() is not None:
                sys.exit(f'{self.name} ended by itself; see {self.log.name}')
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:{self.port}/-/ready', timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f'{self.name} is not ready after 30 s; see {self.log.name}')

    def write(self, data):
        headers = {'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy', 'X-Prometheus-Remote-Write-Version': '0.1.0'}
        request = urllib.request.Request(f'http://127.0.0.1:{self.port}{self.write_path}', data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60):
                pass
        except urllib.error.HTTPError as error:
            sys.exit(f'{self.name} refused the samples: {error.code}: {error.read().decode("utf-8", "replace")}')

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
