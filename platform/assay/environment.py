"""Reading settings from environment variables; an error names the variable and what would be right."""

import hashlib
import importlib.util
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "") or default


def flag(name: str, default: bool = False) -> bool:
    value = text(name).lower()
    if value not in ("", "0", "1", "true", "false", "yes", "no"):
        raise ImproperlyConfigured(f"{name}={value!r}: say 1 or 0")
    return value in ("1", "true", "yes") if value else default


def number(name: str, default: int, *, least: int = 0) -> int:
    value = text(name, str(default))
    if not value.isdigit() or int(value) < least:
        raise ImproperlyConfigured(f"{name}={value!r}: give a whole number of at least {least}")
    return int(value)


def rate(name: str, default: str) -> tuple[int, int]:
    """"600/min" as (600, 60): how many in how many seconds; s, min or h."""
    count, _, unit = text(name, default).partition("/")
    seconds = {"s": 1, "min": 60, "h": 3600}.get(unit)
    if not count.isdigit() or int(count) < 1 or seconds is None:
        raise ImproperlyConfigured(f"{name}={text(name)!r}: give a rate like 600/min, per s, min or h")
    return int(count), seconds


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def secret(name: str, file: Path) -> str:
    """The variable, else the content of the file `<name>_FILE` names, else a key made once and kept in `file`."""
    if value := text(name) or from_file(f"{name}_FILE"):
        return value
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(f".{os.getpid()}")
        scratch.touch(mode=0o600)
        scratch.write_text(secrets.token_urlsafe(50))
        try:
            os.link(scratch, file)  # of two processes that start at once, the first one's key stands
        except FileExistsError:
            pass
        scratch.unlink()
    return file.read_text().strip()


def from_file(name: str) -> str:
    """The content of the file that the variable names; "" without one."""
    if not (path := text(name)):
        return ""
    try:
        content = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ImproperlyConfigured(f"{name}={path}: {reason}") from None
    if not content:
        raise ImproperlyConfigured(f"{name}={path}: the file is empty")
    return content


def database(name: str, default: str = "") -> str:
    """A database's address; the password may come from a file (DATABASE_PASSWORD_FILE for DATABASE_URL)."""
    url, file = text(name, default), f"{name.removesuffix('_URL')}_PASSWORD_FILE"
    if not (password := from_file(file)):
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if not user or ":" in user:
        raise ImproperlyConfigured(f"{file} is set: {name} must then name a user and no password, "
                                   "like postgresql://user@host/name")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()


def issuer(name: str) -> str:
    """The https address of an identity provider, or nothing. On this machine http will do."""
    value = text(name)
    parts = urlsplit(value)
    local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if value and (not parts.hostname or not (local or parts.scheme == "https") or parts.query or parts.fragment):
        raise ImproperlyConfigured(f"{name}={value!r}: give the issuer's address, like https://login.example.org/realm")
    if len(value) > 200:
        raise ImproperlyConfigured(f"{name}: give at most 200 characters")
    return value


class Mail(NamedTuple):
    """A mail server; without a host there is none. `tls`: from the first byte, `starttls`: after a greeting."""

    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False


def mail(url: str) -> Mail:
    """EMAIL_URL: smtp://, smtp+tls:// (STARTTLS) or smtps:// (TLS) user:password@host:port; the password may come from
    EMAIL_PASSWORD_FILE."""
    if not url:
        return Mail()
    ports = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    try:
        parts = urlsplit(url)
        port = parts.port or ports[parts.scheme]
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ImproperlyConfigured("EMAIL_URL: give smtp://host, smtp+tls://user:password@host or smtps://..., "
                                   "with :port where it is not the usual one")
    password = unquote(parts.password or "") or from_file("EMAIL_PASSWORD_FILE")
    return Mail(parts.hostname, port, unquote(parts.username or ""), password, parts.scheme == "smtp+tls",
                parts.scheme == "smtps")


def site(name: str, url: str) -> str:
    """Where people reach these pages: scheme, host, port; no slash at the end."""
    parts = urlsplit(url.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ImproperlyConfigured(f"{name}={url!r}: give an address like https://assay.example.org")
    return url.rstrip("/")


def storage(bucket: str, *, endpoint: str, region: str, prefix: str) -> dict[str, Any]:
    """Django's storage of artifacts: a bucket where one is named, else the folder `MEDIA_ROOT`."""
    if not bucket:
        if endpoint or region or prefix:
            raise ImproperlyConfigured("ARTIFACTS_S3_BUCKET: not set, but another of ARTIFACTS_S3_... is")
        return {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    if importlib.util.find_spec("storages") is None or importlib.util.find_spec("boto3") is None:
        raise ImproperlyConfigured("ARTIFACTS_S3_BUCKET: a bucket needs pip install 'django-storages[s3]'")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ImproperlyConfigured(f"ARTIFACTS_S3_ENDPOINT={endpoint!r}: give a URL like https://s3.example.org")
    if prefix.startswith("/"):
        raise ImproperlyConfigured(f"ARTIFACTS_S3_PREFIX={prefix!r}: give it without a slash at its start")
    options = {"bucket_name": bucket, "endpoint_url": endpoint or None, "region_name": region or None,
               "location": prefix}
    return {"BACKEND": "assay.bucket.Bucket", "OPTIONS": options}


def broker_socket(home: Path) -> Path:
    """Where the embedded broker of `home` listens.

    A unix socket's path has at most 107 bytes (103 on macOS); a longer home gets a short folder in the temporary
    folder, the same one every time.
    """
    socket = home / "redis.sock"
    if len(os.fsencode(socket)) <= 100:
        return socket
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"assay-{os.getuid()}-{name}" / "redis.sock"
