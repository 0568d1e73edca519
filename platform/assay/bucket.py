"""Files in an S3 bucket, of Amazon's or of any server that speaks its protocol (`ARTIFACTS_S3_BUCKET`).

Reads and writes stream, and what goes wrong is an `OSError` that says what to do, as with a folder.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ResponseStreamingError,
)
from django.core.files.base import File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

from .storage import Away

AT_ONCE = 1000  # deletions in one request: the protocol's limit
BLOCK = 2**20  # bytes read at once
UNANSWERED = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError)
BUSY = frozenset({"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"})
ADVICE = {
    "NoSuchBucket": "there is no such bucket: make it, or set ARTIFACTS_S3_BUCKET to another",
    "AccessDenied": "access denied: its credentials must be allowed to get, put, list and delete objects",
    "InvalidAccessKeyId": "the access key is not known there: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is wrong: check AWS_SECRET_ACCESS_KEY",
}


class Bucket(S3Storage):
    """`OPTIONS` are django-storages' own; credentials are found as every AWS program finds them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        other = {"s3": {"addressing_style": "path"}, "request_checksum_calculation": "when_required",
                 "response_checksum_validation": "when_required"} if self.endpoint_url else {}
        self.client_config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard"}, **other)
        self.transfer_config = TransferConfig(max_concurrency=4)

    def check(self) -> None:
        """Raise `OSError` unless the bucket is there and may be looked into."""
        with self._plainly():
            self.connection.meta.client.list_objects_v2(Bucket=self.bucket_name, MaxKeys=1)

    def delete_many(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), AT_ONCE):
            keys = [{"Key": self._key(name)} for name in names[start:start + AT_ONCE]]
            with self._plainly():
                answer = self.bucket.delete_objects(Delete={"Objects": keys, "Quiet": True})
            if failed := answer.get("Errors"):
                raise OSError(f"bucket {self.bucket_name}: {len(failed)} files could not be deleted, "
                              f"{failed[0].get('Key')}: {failed[0].get('Message')}")

    def exists(self, name: str) -> bool:
        with self._plainly():
            return bool(super().exists(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        with self._plainly():
            folders, files = super().listdir(path)
        return folders, files

    def get_modified_time(self, name: str) -> datetime:
        with self._plainly():
            found: datetime = super().get_modified_time(name)
        return found

    def delete(self, name: str) -> None:
        with self._plainly():
            super().delete(name)

    def _save(self, name: str, content: Any) -> str:
        with self._plainly():
            return str(super()._save(name, content))

    def _open(self, name: str, mode: str = "rb") -> File:
        """A stream to be read once; the library's own file would first be fetched whole, into memory."""
        if mode != "rb":
            raise ValueError("a file in a bucket is written whole, by save")
        with self._plainly():
            body = self.bucket.Object(self._key(name)).get()["Body"]
        return File(io.BufferedReader(Download(self, body), BLOCK), name)

    def _key(self, name: str) -> str:
        return str(self._normalize_name(clean_name(name)))

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Boto's errors as those of a file system."""
        try:
            yield
        except UNANSWERED as error:
            raise Away(f"bucket {self.bucket_name}: {error}") from error
        except NoCredentialsError as error:
            raise OSError(f"bucket {self.bucket_name}: no credentials: set AWS_ACCESS_KEY_ID and "
                          "AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE") from error
        except ClientError as error:
            raise self._refusal(error) from error
        except BotoCoreError as error:
            raise OSError(f"bucket {self.bucket_name}: {error}") from error

    def _refusal(self, error: ClientError) -> OSError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in ("NoSuchKey", "404"):
            return FileNotFoundError(f"bucket {self.bucket_name}: no such file")
        kind = Away if status >= 500 or code in BUSY else OSError
        return kind(f"bucket {self.bucket_name}: {ADVICE.get(code) or error}")


class Download(io.RawIOBase):
    """The body of one answer."""

    def __init__(self, bucket: Bucket, body: Any) -> None:
        self._bucket, self._body = bucket, body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._bucket._plainly():
            data = self._body.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()
