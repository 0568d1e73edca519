"""A small OpenID provider on 127.0.0.1, which can be told to lie: discovery, keys, authorize, token, userinfo.

It checks what a real one checks: client, secret, redirect address, the code used once, PKCE. It does so with PyJWT and
nothing of allauth's, so that what is tested against it was not written by the same hand twice.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

Claims = dict[str, Any]


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Provider:
    """`person` is who logs in there; the hooks change what it says: `forge` the id token's claims, `sign` the token."""

    client_id: str = "assay"
    client_secret: str = "client-secret"
    person: Claims = field(default_factory=lambda: {"sub": "7"})
    key: rsa.RSAPrivateKey = field(default_factory=rsa_key)
    forge: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[["Provider", Claims], str] = lambda provider, claims: provider.signed(claims)
    userinfo: Callable[[Claims], Claims] = lambda person: person
    config: Claims = field(default_factory=dict)
    deny: str = ""  # the error that `authorize` answers with
    url: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def signed(self, claims: Claims, key: Any = None, **options: Any) -> str:
        return jwt.encode(claims, key or self.key, **({"algorithm": "RS256", "headers": {"kid": "k1"}} | options))

    def discovery(self) -> Claims:
        return {"issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token", "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/jwks", "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                } | self.config

    def jwks(self) -> Claims:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [public | {"kid": "k1", "use": "sig", "alg": "RS256"}]}

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to. Raises `ValueError` for what no provider answers."""
        if query.get("client_id") != self.client_id or query.get("response_type") != "code":
            raise ValueError("an unknown client")
        if "openid" not in query.get("scope", "").split() or query.get("code_challenge_method") != "S256":
            raise ValueError("no scope openid, or no PKCE")
        back = {"state": query["state"]}
        if self.deny:
            return f"{query['redirect_uri']}?{urlencode(back | {'error': self.deny})}"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode(back | {'code': code})}"

    def token(self, form: dict[str, str], authorization: str) -> Claims:
        basic = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        query = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if authorization != f"Basic {basic}" or query is None or form.get("redirect_uri") != query["redirect_uri"]:
            raise ValueError("invalid_grant")
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != query["code_challenge"]:
            raise ValueError("invalid_grant: PKCE")
        now = int(time.time())
        claims = self.forge({"iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 300,
                             "nonce": query.get("nonce"), **self.person})
        return {"access_token": "access", "token_type": "Bearer", "expires_in": 300,
                "id_token": self.sign(self, claims)}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.provider.asked.append(parts.path)
        try:
            if parts.path == "/.well-known/openid-configuration":
                self._json(self.provider.discovery())
            elif parts.path == "/jwks":
                self._json(self.provider.jwks())
            elif parts.path == "/authorize":
                self._answer(302, b"", Location=self.provider.authorize(query))
            elif parts.path == "/userinfo" and self.headers["Authorization"] == "Bearer access":
                self._json(self.provider.userinfo(dict(self.provider.person)))
            else:
                self._json({"error": "not found"}, 404)
        except ValueError as error:
            self._json({"error": str(error)}, 400)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.provider.asked.append(self.path)
        try:
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._json(self.provider.token(form, self.headers["Authorization"] or ""))
        except ValueError as error:
            self._json({"error": str(error)}, 400)

    def _json(self, content: Claims, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), **{"Content-Type": "application/json"})

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(provider: Provider) -> Iterator[Provider]:
    """`provider` on a free port, until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": provider}))
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
