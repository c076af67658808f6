"""What tests of alerting share: servers that end with their block, a webhook that records."""
import contextlib
import http.client
import http.server
import json
import pathlib
import subprocess
import tempfile
import threading
import time

from harness import WAIT_SECONDS, Server, free_port
from notify_servers import Requests


class Bench:
    def __init__(self, directory, apiary, _options):
        self.directory = directory
        self.apiary = apiary

    def close(self):
        pass

    def write(self, config):
        path = self.directory / 'alertmanager.yml'
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return str(path)

    def run(self, *command, text=''):
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, input=text)

    @contextlib.contextmanager
    def server(self, name, arguments, port):
        """Runs while the block does, in a directory of its own."""
        directory = pathlib.Path(tempfile.mkdtemp(prefix=f'{name}-', dir=self.directory))
        server = Server(name, [*arguments], port, '', directory)
        try:
            server.wait()
            yield server
        finally:
            server.stop()

    def our_server(self, *arguments, data=None, wrap=lambda *command: [*command]):
        port = free_port()
        data = data or tempfile.mkdtemp(prefix='data-', dir=self.directory)
        return self.server('apiary', wrap(self.apiary, 'serve', '--open', '--data', data, '--listen', f'127.0.0.1:{port}', '--otlp-listen', '',
                                          '--set', 'scrape.host=false', '--set', 'scrape.self=false', *arguments), port)

    def their_server(self, config):
        port = free_port()
        return self.server('alertmanager', ['prometheus-alertmanager', f'--config.file={config}', f'--web.listen-address=127.0.0.1:{port}',
                                            '--cluster.listen-address=', '--storage.path=storage'], port)


def ask(port, method, path, body=None, key=None):
    """Status, and what the JSON says; None where there is none."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=WAIT_SECONDS)
    connection.request(method, path, None if body is None else json.dumps(body),
                       {'Content-Type': 'application/json', **({'Authorization': f'Bearer {key}'} if key else {})})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if text else None


class Recorder:
    """Takes what webhooks are sent: the bodies, by path. Says 503 while `is_down`, and never anything to paths in `hanging`."""

    def __enter__(self):
        self.told, self.is_down, self.hanging, self.ending, recorder = {}, False, set(), threading.Event(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                if self.path in recorder.hanging:
                    recorder.ending.wait()
                    return
                status = recorder.status(self.path)
                if status == 200:
                    recorder.told.setdefault(self.path, []).append(body)
                answer = recorder.answer(self, body)
                self.send_response(status)
                self.send_header('Content-Length', str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        self.server = Requests(('127.0.0.1', 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *reason):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()

    def status(self, path):
        return 503 if self.is_down else 200

    def answer(self, request, body):
        return b''

    def config(self, bench, name, text):
        path = bench.directory / f'{name}.yml'
        path.write_text(text.replace('PORT', str(self.port)).replace('NAME', name))
        return str(path)


def moment(seconds):
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds)) + f'.{int(seconds * 1000) % 1000:03}Z'


def labels(name, team, severity='warning'):
    return {'alertname': name, 'team': team, 'severity': severity}


def tell(servers, *alerts, ends=None):
    now = time.time()
    body = [{'labels': alert, 'annotations': {'summary': alert['alertname'].lower()}, 'startsAt': moment(now - 0.001),
             'endsAt': moment(now if ends is None else now + ends), 'generatorURL': 'http://prometheus/graph'} for alert in alerts]
    for server in servers:
        status, answer = ask(server.port, 'POST', '/api/v2/alerts', body)
        assert status == 200, answer
