"""Fake company network on loopback: a certificate authority, servers with its certificates, and a
CONNECT proxy.
"""

from __future__ import annotations

import base64
import http.client
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
NOT_FORWARDED = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
)


class Authority:
    """Signs certificates with the extensions that Python 3.13 requires. `file` is its own, for
    clients to trust.
    """

    def __init__(self, folder: Path, name: str = "Authority for tests") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(self._signed(self._name, self._key.public_key()).public_bytes(_PEM))

    def certificate_for(self, *hosts: str) -> Path:
        """Return a file with a certificate for these hosts and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        signed = self._signed(name, key.public_key(), hosts)
        secret = key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{hosts[0]}.pem"
        path.write_bytes(secret + signed.public_bytes(_PEM))
        return path

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, hosts: tuple[str, ...] = ()
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .add_extension(_key_usage(is_authority=not hosts), critical=True)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False
            )
        return builder.sign(self._key, hashes.SHA256())


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    names = (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
    )
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        decipher_only=False,
        **dict.fromkeys(names, False),
    )


_PEM = serialization.Encoding.PEM


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Log nothing, because it would go to the standard error of the tests."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: a client ends a handshake that it does not trust, and an answer that is
        too long.
        """

    def __enter__(self) -> Server:
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


def json_server(
    respond: Callable[[str, Mapping[str, str], bytes], tuple[int, object, Mapping[str, str]]],
) -> Server:
    """Return a running server of POST requests: `respond` gets path, headers (names in lower case)
    and body.

    It returns the status, the JSON document and more headers. The status 0 closes the connection
    without a response.
    """

    class Respond(Quiet):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, document, more = respond(urlsplit(self.path).path, headers, raw)
            if status == 0:
                self.close_connection = True
                return
            answer = json.dumps(document).encode()
            self.send_response(status)
            given = {"Content-Type": "application/json", "Content-Length": str(len(answer)), **more}
            for name, value in given.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

    return Server((HOST, 0), Respond).__enter__()


def forward(handler: BaseHTTPRequestHandler, address: str) -> None:
    """Answer a request with the response of another server: "http://127.0.0.1:1"."""
    upstream = urlsplit(address)
    with closing(
        http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=30)
    ) as connection:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in NOT_FORWARDED}
        connection.request(handler.command, handler.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in NOT_FORWARDED:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


def tls_server(certificate: Path, behind: Mapping[str, str]) -> Server:
    """Return a server that forwards each host to an address: {"api.github.test":
    "http://127.0.0.1:1"}.
    """

    class Forward(Quiet):
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.request.close()  # the server closes only what it accepted itself

        def _forward(self) -> None:
            forward(self, behind[self.headers["Host"].partition(":")[0]])

        do_GET = do_POST = do_PATCH = do_DELETE = _forward  # noqa: N815 (names of http.server)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return Server((HOST, 0), Forward)


class Proxy:
    """Connects clients with the right password to one server, for any host. `asked` lists the
    requested hosts.
    """

    def __init__(self, to_port: Callable[[], int], *, user: str, password: str) -> None:
        self.asked: list[str] = []
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        asked = self.asked

        class Connect(Quiet):
            def do_CONNECT(self) -> None:
                asked.append(self.path)
                self.close_connection = True
                if self.headers["Proxy-Authorization"] != expected:
                    self.send_error(407, "Proxy Authentication Required")
                    return
                with socket.create_connection((HOST, to_port()), timeout=30) as upstream:
                    self.send_response(200, "Connection established")
                    self.end_headers()
                    with suppress(OSError):
                        _relay(self.connection, upstream)

        self._server = Server((HOST, 0), Connect)

    def __enter__(self) -> Proxy:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    @property
    def place(self) -> str:
        """ "127.0.0.1:43817" """
        return f"{HOST}:{self._server.port}"


def _relay(one: socket.socket, other: socket.socket) -> None:
    to = {one: other, other: one}
    while True:
        for ready in select.select([one, other], [], [], 30)[0]:
            chunk = ready.recv(65_536)
            if not chunk:
                return
            to[ready].sendall(chunk)
