"""Receivers of notifications that record what they get: HTTP and SMTP, on ports of the system's choice."""
import base64
import hashlib
import hmac
import http.server
import json
import queue
import socketserver
import sys
import threading

from harness import WAIT_SECONDS


class Requests(http.server.ThreadingHTTPServer):
    """Many come at once: those that the system's queue has no room for would wait a second, then three."""
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # who asked and has gone meanwhile is no trouble
            super().handle_error(request, client_address)


class Http:
    """Records requests; `answers` has (status, headers, body) for the next ones, then it is `default`."""

    def __init__(self, default=(200, {'Content-Type': 'text/plain'}, 'ok'), tls=None):
        self.requests = queue.Queue()
        self.answers = queue.Queue()
        self.default = default
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                try:
                    status, headers, text = recorder.answers.get_nowait()
                except queue.Empty:
                    status, headers, text = recorder.default
                recorder.requests.put((self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments):
                pass

        self.server = Requests(('127.0.0.1', 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, timeout=WAIT_SECONDS):
        """Path, header fields, body."""
        return self.requests.get(timeout=timeout)

    def next_json(self, timeout=WAIT_SECONDS):
        path, headers, body = self.next(timeout)
        return path, headers, json.loads(body)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Smtp:
    """Records mails as (sender, recipients, bytes, login, whether by TLS). `refuse` maps a command's first word to the line to answer."""

    def __init__(self, auth='', tls=None):
        self.mails = queue.Queue()
        self.auth = auth
        self.tls = tls  # an ssl.SSLContext: STARTTLS is offered
        self.refuse = {}
        recorder = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line):
                self.wfile.write((line + '\r\n').encode())

            def hear(self):
                return self.rfile.readline().decode().strip()

            def authenticate(self, line):
                way, _, initial = line[5:].partition(' ')
                if way == 'PLAIN':
                    if not initial:
                        self.say('334 ')
                        initial = self.hear()
                    return tuple(base64.b64decode(initial).decode().split('\0')[1:])
                if way == 'LOGIN':
                    if not initial:
                        self.say('334 ' + base64.b64encode(b'Username:').decode())
                        initial = self.hear()
                    self.say('334 ' + base64.b64encode(b'Password:').decode())
                    return base64.b64decode(initial).decode(), base64.b64decode(self.hear()).decode()
                self.say('334 ' + base64.b64encode(b'<1@test>').decode())
                user, digest = base64.b64decode(self.hear()).decode().split(' ')
                right = hmac.new(b'cram-secret', b'<1@test>', hashlib.md5).hexdigest()
                return user, 'cram-secret' if digest == right else None

            def data(self):
                lines = []
                while (line := self.rfile.readline()) not in (b'.\r\n', b''):
                    lines.append(line[1:] if line.startswith(b'.') else line)
                return b''.join(lines)

            def handle(self):
                sender, recipients, login, is_tls = None, [], None, False
                self.say('220 test')
                while line := self.hear():
                    word = line.split(' ')[0].upper()
                    if word in recorder.refuse:
                        self.say(recorder.refuse[word])
                    elif word == 'EHLO':
                        self.say('250-test')
                        if recorder.tls and not is_tls:
                            self.say('250-STARTTLS')
                        self.say('250 AUTH ' + recorder.auth if recorder.auth else '250 SIZE 10000000')
                    elif word == 'STARTTLS':
                        self.say('220 go on')
                        try:
                            self.request = recorder.tls.wrap_socket(self.request, server_side=True)
                        except OSError:  # the certificate is not the one that is trusted
                            return
                        self.rfile, self.wfile = self.request.makefile('rb'), self.request.makefile('wb', 0)
                        is_tls = True
                    elif word == 'AUTH':
                        login = self.authenticate(line)
                        self.say('235 welcome')
                    elif word == 'MAIL':
                        sender = line[10:].split('>')[0].strip('<')
                        self.say('250 ok')
                    elif word == 'RCPT':
                        recipients.append(line[8:].split('>')[0].strip('<'))
                        self.say('250 ok')
                    elif word == 'DATA':
                        self.say('354 go on')
                        recorder.mails.put((sender, recipients, self.data(), login, is_tls))
                        self.say('250 ok')
                    elif word == 'QUIT':
                        self.say('221 bye')
                        return
                    else:
                        self.say('250 ok')

        self.server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, timeout=WAIT_SECONDS):
        return self.mails.get(timeout=timeout)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
