"""Servers on loopback to be probed: HTTP with every oddity, TLS, TCP that talks in lines, a small name server."""
import gzip
import http.server
import pathlib
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
import zlib

from harness import free_port

BODY = b'hello world\nsecond line\n'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=BODY, **fields):
        self.send_response(status)
        for name, value in fields.items():
            for one in value if isinstance(value, list) else [value]:
                self.send_header(name.replace('_', '-'), one)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def do_GET(self):
        received = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        name, _, argument = self.path.partition('?')
        getattr(self, 'page_' + name.strip('/').replace('/', '_'), self.page_)(argument, received)

    do_POST = do_HEAD = do_PUT = do_OPTIONS = do_GET

    def page_(self, argument, received):
        self.answer(200)

    def page_status(self, argument, received):
        self.answer(int(argument))

    def page_redirect(self, argument, received):
        """redirect?301,/echo"""
        status, _, place = argument.partition(',')
        self.answer(int(status), b'elsewhere', Location=place)

    def page_loop(self, argument, received):
        self.answer(302, b'', Location='/loop')

    def page_count(self, argument, received):
        """That many redirects, then an answer."""
        left = int(argument)
        if left:
            self.answer(302, b'', Location=f'/count?{left - 1}')
        else:
            self.answer(200)

    def page_nowhere(self, argument, received):
        self.answer(301, b'no Location')

    def page_echo(self, argument, received):
        self.answer(200, f'{self.command} {received.decode()}\n'.encode())

    def page_gzip(self, argument, received):
        self.answer(200, gzip.compress(BODY * 100), Content_Encoding='gzip')

    def page_deflate(self, argument, received):
        self.answer(200, zlib.compress(BODY * 100), Content_Encoding='deflate')

    def page_modified(self, argument, received):
        self.answer(200, Last_Modified='Wed, 21 Oct 2015 07:28:00 GMT')

    def page_fields(self, argument, received):
        self.answer(200, Set_Cookie=['a=1; Path=/', 'b=2'], X_Sum='42')

    def page_private(self, argument, received):
        self.answer(200 if self.headers.get('Authorization') in ('Basic dXNlcjpwYXNz', 'Bearer token', 'Token t') else 401)

    def page_headers(self, argument, received):
        """Says what it was asked with; what each program adds of its own is left out."""
        wanted = {name: self.headers.get_all(name) for name in ('Host', 'X-One', 'Accept', 'Accept-Encoding', 'Content-Type')}
        self.answer(200, repr({name: value for name, value in wanted.items() if name != 'Host'}).encode() + (b'!' if 'apiary' in wanted['Host'][0] else b''))

    def page_chunked(self, argument, received):
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        self.wfile.write(b'5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n')

    def page_cut(self, argument, received):
        self.send_response(200)
        self.send_header('Content-Length', '100')
        self.end_headers()
        self.wfile.write(b'too short')
        self.close_connection = True

    def page_slow(self, argument, received):
        time.sleep(3)
        self.answer(200)

    def page_drip(self, argument, received):
        self.send_response(200)
        self.send_header('Content-Length', '1000')
        self.end_headers()
        for _ in range(5):
            self.wfile.write(b'.')
            self.wfile.flush()
            time.sleep(0.02)
        time.sleep(3)
        self.close_connection = True


class Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, address):
        pass


class Lines(socketserver.ThreadingTCPServer):
    """Hands a connection to `talk`."""
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, talk):
        super().__init__(('127.0.0.1', 0), None)
        self.talk = talk

    def finish_request(self, request, address):
        try:
            self.talk(request)
        except OSError:
            pass

    def handle_error(self, request, address):
        pass


def banner(connection):
    connection.sendall(b'220 mail.example ready\r\n')
    line = connection.recv(1000)
    connection.sendall(b'250 you said ' + line.strip() + b'\n' + b'PING :12345\n')
    line = connection.recv(1000)
    connection.sendall(b'OK\n' if line == b'PONG 12345 x\n' else b'WRONG ' + line + b'\n')
    connection.recv(1000)


def silent(connection):
    connection.settimeout(4)
    connection.recv(1000)


def last_words(connection):
    connection.sendall(b'one\ntwo without end')


def garbage(connection):
    connection.recv(1000)
    connection.sendall(b'\x00\x01\x02 this is not HTTP\r\n\r\n')


def starttls(context):
    def talk(connection):
        connection.sendall(b'220 ready\r\n')
        connection.recv(1000)
        connection.sendall(b'220 go ahead\r\n')
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b'250 secure\r\n')
            secure.recv(1000)
    return talk


# ---- Names ----


def dns_name(text):
    return b''.join(bytes([len(part)]) + part.encode() for part in text.rstrip('.').split('.') if part) + b'\0'


def dns_record(name, kind, ttl, data, kind_class=1):
    return name + struct.pack('>HHIH', kind, kind_class, ttl, len(data)) + data


def dns_answer(query):
    """By the name that is asked for."""
    (number,) = struct.unpack('>H', query[:2])
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind, _ = struct.unpack('>HH', query[at + 1:at + 5])
    question, pointer, name = query[12:at + 5], b'\xc0\x0c', '.'.join(labels)
    flags, answers, authorities, additionals = 0x8180, [], [], []
    if name == 'silence.example':
        return None
    if name == 'broken.example':
        return query[:2] + b'\x81\x80\x00\x01\x00\x05\x00\x00\x00\x00' + question
    if name == 'missing.example':
        flags |= 3
    elif name == 'refused.example':
        flags |= 5
    elif kind == 6:
        soa = dns_name('ns.example.com') + b'\x05admin\xc0\x0c' + struct.pack('>5I', 2026112901, 7200, 3600, 1209600, 300)
        answers.append(dns_record(pointer, 6, 3600, soa))
    elif kind == 28:
        answers.append(dns_record(pointer, 28, 60, socket.inet_pton(socket.AF_INET6, '2001:db8::7')))
    elif kind == 15:
        answers += [dns_record(pointer, 15, 300, struct.pack('>H', n) + b'\x02m%d' % n + pointer) for n in (1, 2)]
        additionals.append(dns_record(dns_name('m1.' + name), 1, 300, bytes([192, 0, 2, 1])))
    elif kind == 16:
        answers.append(dns_record(pointer, 16, 5, b'\x05v=\x01"1\x03two'))
    elif kind == 33:
        answers.append(dns_record(pointer, 33, 5, struct.pack('>HHH', 10, 20, 443) + dns_name('a-b.example.com')))
    elif kind == 257:
        answers.append(dns_record(pointer, 257, 5, b'\x80\x05issueca.example'))
    else:
        answers += [dns_record(pointer, 5, 30, b'\x05alias' + pointer), dns_record(b'\x05alias' + pointer, 1, 30, bytes([192, 0, 2, 9]))]
        authorities.append(dns_record(dns_name('example.com'), 2, 600, dns_name('ns.example.com')))
    header = struct.pack('>HHHHHH', number, flags, 1, len(answers), len(authorities), len(additionals))
    return header + question + b''.join(answers + authorities + additionals)


def dns_talk(connection):
    connection.settimeout(4)
    length = struct.unpack('>H', connection.recv(2))[0]
    answer = dns_answer(connection.recv(length))
    if answer is None:
        connection.recv(1)
        return
    framed = struct.pack('>H', len(answer)) + answer
    connection.sendall(framed[:7])  # in two pieces
    time.sleep(0.05)
    connection.sendall(framed[7:])


class DnsDatagrams:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 0))

    def serve_forever(self):
        while True:
            query, address = self.socket.recvfrom(4096)
            answer = dns_answer(query)
            if answer is not None:
                self.socket.sendto(answer, address)


# ---- Certificates ----


def make_certificates(directory):
    """ca.pem; leaf (localhost, 127.0.0.1), old (expired), odd (names with everything in them)."""
    def run(*arguments):
        subprocess.run(['openssl', *arguments], cwd=directory, check=True, capture_output=True)

    key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes')
    run('req', '-x509', *key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '400', '-subj', '/C=DE/ST=Nowhere/L=Town/O=Test & Co/OU=Unit/CN=Test CA')
    (directory / 'names').write_text('subjectAltName=DNS:localhost,DNS:b.example,IP:127.0.0.1\n')
    for name, subject, times in (('leaf', '/O=Apiary, Inc/CN=localhost', ('-days', '100')),
                                 ('old', '/CN=localhost', ('-not_after', '20260101000000Z', '-not_before', '20250101000000Z')),
                                 ('odd', '/C=DE/O=#1 "Quoted"+OU=a/OU=b/DC=example/emailAddress=a@b.example/CN= both ', ('-days', '10'))):
        run('req', *key, '-keyout', f'{name}.key', '-out', f'{name}.csr', '-subj', subject)
        if name == 'old':  # x509 of OpenSSL 3.0 knows no dates
            (directory / 'index.txt').write_text('')
            (directory / 'serial').write_text('77\n')
            (directory / 'ca.conf').write_text('[ca]\ndefault_ca=c\n[c]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n'
                                               'x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:localhost\n')
            run('ca', '-batch', '-config', 'ca.conf', '-in', 'old.csr', '-out', 'old.pem', '-cert', 'ca.pem', '-keyfile', 'ca.key',
                '-startdate', '20250101000000Z', '-enddate', '20260101000000Z', '-notext')
        else:
            run('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-out', f'{name}.pem', *times, '-extfile', 'names')


class Servers:
    """All of them, each on a port of its own by name."""

    def __init__(self, directory):
        make_certificates(directory)
        self.ports = {}

        def context(name):
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            made.load_cert_chain(directory / f'{name}.pem', directory / f'{name}.key')
            return made

        def http_server(name, tls=None):
            server = Http(('127.0.0.1', 0), Handler)
            if tls:
                server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            self.start(name, server, server.server_address[1])

        http_server('http')
        http_server('other')
        http_server('https', context('leaf'))
        http_server('old', context('old'))
        http_server('odd', context('odd'))
        tls12 = context('leaf')
        tls12.maximum_version = ssl.TLSVersion.TLSv1_2
        http_server('tls12', tls12)
        for name, talk in (('banner', banner), ('silent', silent), ('last_words', last_words), ('garbage', garbage), ('starttls', starttls(context('leaf'))),
                           ('dns_tcp', dns_talk)):
            server = Lines(talk)
            self.start(name, server, server.server_address[1])
        names = DnsDatagrams()
        self.start('dns', names, names.socket.getsockname()[1])
        self.ports['closed'] = free_port()

    def start(self, name, server, port):
        self.ports[name] = port
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def target(self, text):
        """"http://{https}/x" with ports for names in braces."""
        return text.format(**{name: f'127.0.0.1:{port}' for name, port in self.ports.items()}, **{f'{name}_port': port for name, port in self.ports.items()})


if __name__ == '__main__':
    import sys
    servers = Servers(pathlib.Path(sys.argv[1]))
    print(servers.ports, flush=True)
    threading.Event().wait()
