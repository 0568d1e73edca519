"""Requests to addresses that people entered. None reaches this machine or the network behind it: a name is resolved
once, every address it has must be a public one, and the connection goes to the very address that was looked at. What
WEBHOOK_ALLOWED_HOSTS names is one's own and may be anywhere."""

import ipaddress
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from django.conf import settings

LONGEST = 500  # characters of a URL
PORTS = {"https": (443, 8443), "http": (80,)}  # without being named in WEBHOOK_ALLOWED_HOSTS: of https alone
SILENCE = 4.0  # seconds in which nothing comes
DEADLINE = 8.0  # seconds for all of it, from the first connection to the answer's headers
TRIED = 2  # addresses of a name
NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
# Python's `ipaddress` finds some of these public. But they carry an IPv4 address in them, which may be any, and
# fec0::/10 was what fd00::/8 is.
HIDDEN = tuple(map(ipaddress.ip_network, ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16",
                                          "2001::/32", "192.88.99.0/24", "fec0::/10")))
ALLOW = "; whoever runs this server can allow it: WEBHOOK_ALLOWED_HOSTS"
CERTIFICATES = ssl.create_default_context()

Address = IPv4Address | IPv6Address


class Refused(Exception):
    """This will not be sent, now or later; the message says why."""


class Failed(Exception):
    """It was not taken; another time it may be. `status`: what was answered, if anything was."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Target:
    """Where a URL leads. `own`: WEBHOOK_ALLOWED_HOSTS names it."""

    secure: bool
    host: str
    port: int
    path: str
    own: bool


def parse(url: str) -> Target:
    """Raises `Refused` for whatever is not plainly a URL of a public web server."""
    if len(url) > LONGEST or not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise Refused(f"give a URL of at most {LONGEST} characters, without spaces, backslashes or letters beyond "
                      "ASCII (names of other scripts begin with xn--)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("this is no URL: write https://host/path") from None
    if parts.scheme not in PORTS or not parts.hostname or parts.fragment:
        raise Refused("write https://host/path")
    if "@" in parts.netloc:
        raise Refused("no user name or password in the URL: the signature tells who sends")
    host, secure = _host(parts.hostname), parts.scheme == "https"
    port = port if port is not None else PORTS[parts.scheme][0]
    own = f"{host}:{port}" in settings.WEBHOOK_ALLOWED_HOSTS or (
        host in settings.WEBHOOK_ALLOWED_HOSTS and port in (*PORTS["https"], *PORTS["http"]))
    if not own and not secure:
        raise Refused("use https")
    if not own and port not in PORTS["https"]:
        raise Refused(f"port {port}: use {' or '.join(map(str, PORTS['https']))}")
    if not own and (address := _literal(host)) and not is_public(address):
        raise Refused(f"{host} is not a public address{ALLOW}")
    return Target(secure, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), own)


def _host(name: str) -> str:
    """A name or an address in its usual form; 2130706433, 0x7f.1 and 0177.0.0.1 are 127.0.0.1 to some resolvers."""
    if _literal(name):
        return name
    last = name.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        raise Refused(f"{name}: write an IP address as four numbers, like 192.0.2.7")
    if len(name) > 253 or not NAME.fullmatch(name):
        raise Refused(f"{name[:100]} is no host name")
    return name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    if any(address in network for network in HIDDEN if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_loopback
                                      or address.is_link_local or address.is_private or address.is_unspecified)


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a name, each once. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def addresses(target: Target) -> list[Address]:
    """Where to connect: asked once. One address that is not public condemns the name. Raises `Refused`, `Failed`."""
    try:
        found = resolve(target.host, target.port)
    except (OSError, UnicodeError):
        raise Failed(f"the name {target.host} cannot be resolved") from None
    for address in found:
        if not target.own and not is_public(address):
            raise Refused(f"{target.host} leads to {address}, which is not a public address{ALLOW}")
    if not found:
        raise Failed(f"the name {target.host} has no address")
    return found[:TRIED]


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer, 200 to 299; nothing more of it is read. Raises `Refused`, `Failed`."""
    target = parse(url)
    problem, begun = "", time.monotonic()
    for address in addresses(target):
        connection = _Connection(target, address)
        watch = threading.Timer(begun + DEADLINE - time.monotonic(), connection.give_up)
        watch.daemon = True
        watch.start()
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:
            problem = _why(error, connection)
            continue  # the name's next address
        else:
            return _ask(connection, target, body, headers)
        finally:
            watch.cancel()
            connection.close()
    raise Failed(problem)


def _ask(connection: "_Connection", target: Target, body: bytes, headers: dict[str, str]) -> int:
    try:
        connection.request("POST", target.path, body, headers)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Failed(_why(error, connection)) from None
    if 200 <= status < 300:
        return status
    raise Failed(f"answered {status}{': redirects are not followed' if 300 <= status < 400 else ''}", status)


class _Connection(HTTPConnection):
    """To `address`, under the name that the URL has: TLS checks that one."""

    def __init__(self, target: Target, address: Address) -> None:
        super().__init__(target.host, target.port, timeout=SILENCE)
        self.default_port = PORTS["https"][0] if target.secure else PORTS["http"][0]
        self.late = False
        self._secure, self._address = target.secure, str(address)

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            self.sock = CERTIFICATES.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def give_up(self) -> None:
        """From another thread: whoever sends a byte every four seconds would never be silent."""
        self.late = True
        try:
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has just ended


def _why(error: Exception, connection: _Connection) -> str:
    if connection.late or isinstance(error, TimeoutError):
        return f"no answer within {DEADLINE if connection.late else SILENCE:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError):
        return error.strerror or "the connection broke"
    return "what it answered is no HTTP"
