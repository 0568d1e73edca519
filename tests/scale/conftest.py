"""What all tests of this folder may ask for."""

from standins import pooler, s3, s3_server  # noqa: F401
