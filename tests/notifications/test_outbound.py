"""What people enter as an address never leads into the network behind the server."""

import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from assay.notifications import outbound
from assay.notifications.outbound import Failed, Refused, is_public, parse, post

from tests.notifications.receiver import Receiver

PUBLIC = "93.184.215.14"


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """A resolver that gives one answer after the other; what it was asked."""
    asked, left = list[str](), list(answers)

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.7", "198.18.0.1", "192.88.99.1",
    "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::",
    "2001:0:7f00:1::",
])
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("url", [
    "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "//example.org/x",
    "https://", "https:///x", "example.org", "https://user@example.org/", "https://user:pass@example.org/",
    "https://example.org@127.0.0.1/", "https://example.org:22/", "https://example.org:6379/", "https://example.org:0/",
    "https://example.org:99999/", "https://example.org:x/", "https://127.0.0.1/", "https://[::1]/",
    "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "https://2130706433/", "https://0x7f000001/",
    "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.0.1./", "https://1.2.3.0x4/",
    "https://169.254.169.254/latest/meta-data", "https://10.0.0.5/", "https://exa mple.org/", "https://example.org/\n",
    "https://example.org\\@127.0.0.1/", "https://ex\tample.org/", "https://exämple.org/", "https://１２７.0.0.1/",
    "https://example.org/#part", "https://-x.org/", "https://a..b/", "https://" + 64 * "a" + ".org/",
    "https://example.org/" + 500 * "x", "https://[::1", "https://[127.0.0.1]/",
])
def test_urls_that_are_refused_before_anything_is_resolved(
        url: str, monkeypatch: pytest.MonkeyPatch, loopback_only: list[str]) -> None:
    asked = names(monkeypatch, [PUBLIC])
    with pytest.raises(Refused):
        post(url, b"{}", {})
    assert asked == loopback_only == []


@pytest.mark.parametrize("answer", [
    ["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["10.0.0.1", PUBLIC], ["169.254.169.254"], ["::ffff:10.0.0.1"],
])
def test_a_name_with_one_address_that_is_not_public(
        answer: list[str], monkeypatch: pytest.MonkeyPatch, loopback_only: list[str]) -> None:
    names(monkeypatch, answer)
    with pytest.raises(Refused, match="not a public address"):
        post("https://rebind.example.org/", b"{}", {})
    assert loopback_only == []


def test_the_connection_goes_to_the_address_that_was_looked_at(
        monkeypatch: pytest.MonkeyPatch, loopback_only: list[str]) -> None:
    """A resolver that answers 127.0.0.1 the second time is asked once."""
    asked = names(monkeypatch, [PUBLIC], ["127.0.0.1"])
    with pytest.raises(Failed, match="not in a test"):
        post("https://rebind.example.org/", b"{}", {})
    assert asked == ["rebind.example.org"] and loopback_only == [PUBLIC]


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Failed, match="cannot be resolved"):
        post("https://nowhere.example.org/", b"{}", {})


def test_what_is_ones_own_is_reached(receiver: Receiver) -> None:
    assert post(receiver.url, b'{"a": 1}', {"Content-Type": "application/json"}) == 204
    headers, body = receiver.got[0]
    assert body == b'{"a": 1}' and headers["Host"] == f"127.0.0.1:{receiver.port}"


def test_another_port_of_ones_own_host_is_not(receiver: Receiver, free_port: int) -> None:
    with pytest.raises(Refused, match="https"):
        parse(f"http://127.0.0.1:{free_port}/")


def test_a_host_without_a_port_stands_for_the_usual_ones(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_HOSTS = ["intranet"]
    assert parse("http://intranet/x").own and parse("https://INTRANET:8443/").own
    with pytest.raises(Refused):
        parse("http://intranet:6379/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses, receiver.headers = [status], {"Location": receiver.url}
    with pytest.raises(Failed, match="redirects are not followed") as caught:
        post(receiver.url, b"{}", {})
    assert caught.value.status == status and len(receiver.got) == 1


def test_the_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9/")
    assert post(receiver.url, b"{}", {}) == 204


# -- a server that behaves badly -------------------------------------------------------------------------


@pytest.fixture
def serve(settings: Any) -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Speak to whoever connects; gives the URL."""
    servers: list[socket.socket] = []

    def start(speak: Callable[[socket.socket], None]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def accept() -> None:
            try:
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=_quietly, args=(speak, connection), daemon=True).start()
            except OSError:
                pass  # the test is over

        threading.Thread(target=accept, daemon=True).start()
        settings.WEBHOOK_ALLOWED_HOSTS = [f"localhost:{server.getsockname()[1]}"]
        return f"http://localhost:{server.getsockname()[1]}/"

    yield start
    for server in servers:
        server.close()


def _hear(connection: socket.socket) -> None:
    """The whole request: whoever leaves before loses what was said."""
    heard = b""
    while not heard.endswith(b"{}") and (piece := connection.recv(4096)):
        heard += piece


def _quietly(speak: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with connection:
        try:
            speak(connection)
        except OSError:
            pass  # the other side left


@pytest.mark.parametrize(("answer", "why"), [
    (b"SSH-2.0-OpenSSH_9\r\n", "no HTTP"), (b"", "broke"), (b"HTTP/1.1 200\r\n" + 70_000 * b"x", "no HTTP"),
    (b"HTTP/1.1 200 OK\r\n" + 200 * b"A: b\r\n" + b"\r\n", "no HTTP"), (b"HTTP/1.1 500 Oh\r\n\r\n", "answered 500"),
])
def test_answers_that_do_not_count(
        answer: bytes, why: str, serve: Callable[[Callable[[socket.socket], None]], str]) -> None:
    def speak(connection: socket.socket) -> None:
        _hear(connection)
        connection.sendall(answer)

    url = serve(speak)
    with pytest.raises(Failed, match=why):
        post(url, b"{}", {})


def test_an_endless_answer_is_not_read(serve: Callable[[Callable[[socket.socket], None]], str]) -> None:
    sent = [0]

    def speak(connection: socket.socket) -> None:
        _hear(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent[0] += connection.send(65536 * b"x")

    assert post(serve(speak), b"{}", {}) == 200
    assert sent[0] < 20 * 2**20


def test_who_is_silent_and_who_dribbles_is_left(
        serve: Callable[[Callable[[socket.socket], None]], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "SILENCE", 0.3)
    monkeypatch.setattr(outbound, "DEADLINE", 1.0)
    with pytest.raises(Failed, match="no answer within"):
        post(serve(lambda connection: time.sleep(5)), b"{}", {})

    def dribble(connection: socket.socket) -> None:
        _hear(connection)
        for byte in b"HTTP/1.1 200 OK\r\n" + 100 * b"A: b\r\n":
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    begun = time.monotonic()
    with pytest.raises(Failed, match="no answer within"):
        post(serve(dribble), b"{}", {})
    assert time.monotonic() - begun < 3


# -- TLS -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that signs itself, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key", "-out", folder / "cert"],
                   check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


def _tls(certificate: Path, asked: list[str | None]) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: asked.append(name)  # type: ignore[assignment]

    def speak(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            _hear(secure)
            secure.sendall(b"HTTP/1.1 204 Fine\r\n\r\n")

    return speak


def test_tls_checks_the_name_of_the_url_at_the_address_that_was_looked_at(
        certificate: Path, serve: Callable[[Callable[[socket.socket], None]], str], settings: Any,
        monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    port = serve(_tls(certificate, asked)).rstrip("/").rpartition(":")[2]
    trusting = ssl.create_default_context(cafile=str(certificate))
    with pytest.raises(Failed, match="certificate"):  # nobody signed it
        post(f"https://localhost:{port}/", b"{}", {})
    monkeypatch.setattr(outbound, "CERTIFICATES", trusting)
    assert post(f"https://localhost:{port}/", b"{}", {}) == 204
    settings.WEBHOOK_ALLOWED_HOSTS = [f"other.example.org:{port}"]
    names(monkeypatch, ["127.0.0.1"])
    with pytest.raises(Failed, match=r"certificate.*other\.example\.org"):
        post(f"https://other.example.org:{port}/", b"{}", {})
    assert asked == ["localhost", "localhost", "other.example.org"]
