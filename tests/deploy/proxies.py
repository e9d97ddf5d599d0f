"""nginx and Caddy with the files of ``deploy/``, on free ports in front of a server."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import DEADLINE_SECONDS, ROOT, Server, free_port, wait_for
from tests.programs import find_program

DEPLOY = ROOT / "deploy"
NAME = "observatory.example.org"
# What a server behind such a proxy is told, as both files say.
SETTINGS = {"ALLOWED_HOSTS": NAME, "TRUSTED_PROXIES": "127.0.0.1", "HOST": "127.0.0.1"}


class _Connection(http.client.HTTPSConnection):
    """A connection to a port of this machine that calls it by the proxy's name."""

    def __init__(self, proxy: Proxy, source: str) -> None:
        super().__init__(NAME, proxy.port, timeout=DEADLINE_SECONDS)
        self._proxy = proxy
        self._source = source

    def connect(self) -> None:
        self.sock = self._proxy.connect(source=self._source)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy."""

    kind: str
    port: int
    plain_port: int
    certificate: Path

    @property
    def origin(self) -> str:
        """What a browser says of the pages of this proxy."""
        return f"https://{NAME}:{self.port}"

    def connect(self, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """Return a connection over TLS, from an address of this machine."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(
            ("127.0.0.1", self.port), timeout=DEADLINE_SECONDS, source_address=(source, 0)
        )
        return context.wrap_socket(plain, server_hostname=NAME)

    @contextmanager
    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> Iterator[http.client.HTTPResponse]:
        """Give an answer whose body is not read yet, over a connection of its own."""
        connection = _Connection(self, source)
        try:
            connection.request(method, path, body, headers)
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for the name, which nobody signed, and its key."""
    certificate, key = folder / "observatory.pem", folder / "observatory.key"
    command = [
        find_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
        "-addext", f"subjectAltName=DNS:{NAME}", "-out", str(certificate), "-keyout", str(key),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def _replaced(text: str, changes: dict[str, str]) -> str:
    """Return a text with parts replaced that must be in it."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx_configuration(
    folder: Path, *, port: int, plain_port: int, server_port: int, certificate: Path, key: Path
) -> Path:
    """Write a configuration around the one of ``deploy/``, with ports and paths of a test."""
    text = "".join(
        line
        for line in (DEPLOY / "nginx.conf").read_text().splitlines(keepends=True)
        # A machine may have no IPv6.
        if "listen [::]" not in line
    )
    text = _replaced(
        text,
        {
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
            "server 127.0.0.1:3001;": f"server 127.0.0.1:{server_port};",
            "/etc/ssl/observatory.pem": str(certificate),
            "/etc/ssl/observatory.key": str(key),
        },
    )
    (folder / "observatory.conf").write_text(text)
    temporary = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"user root;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n"
        f"events {{}}\nhttp {{\n    access_log off;\n{temporary}"
        f"    include {folder}/observatory.conf;\n}}\n"
    )
    return whole


def caddy_configuration(
    folder: Path, *, port: int, plain_port: int, server_port: int, certificate: Path, key: Path
) -> Path:
    """Write the configuration of ``deploy/`` with ports and paths of a test."""
    text = _replaced(
        (DEPLOY / "Caddyfile").read_text(),
        {
            "\n{\n\tservers {": f"\n{{\n\tadmin off\n\thttp_port {plain_port}\n"
            f"\thttps_port {port}\n\tservers {{",
            f"\n{NAME} {{": f"\n{NAME} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}",
            "reverse_proxy 127.0.0.1:3001": f"reverse_proxy 127.0.0.1:{server_port}",
        },
    )
    whole = folder / "Caddyfile"
    whole.write_text(text)
    return whole


@contextmanager
def proxying(kind: str, server: Server, folder: Path) -> Iterator[Proxy]:
    """Run a proxy in front of a server while a block runs."""
    program = find_program(kind)
    certificate, key = make_certificate(folder)
    port, plain_port = free_port(), free_port()
    write = {"nginx": nginx_configuration, "caddy": caddy_configuration}[kind]
    configuration = write(
        folder,
        port=port,
        plain_port=plain_port,
        server_port=server.port,
        certificate=certificate,
        key=key,
    )
    command = {
        "nginx": [program, "-p", str(folder), "-c", str(configuration)],
        "caddy": [program, "run", "--adapter", "caddyfile", "--config", str(configuration)],
    }[kind]
    log = folder / f"{kind}-output.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(listens, what=f"{kind} to listen")
        yield Proxy(kind, port, plain_port, certificate)
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE_SECONDS)
