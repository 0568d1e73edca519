"""The layout's own rules."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_platform_stays_a_plain_folder():
    """`platform/__init__.py` would shadow the standard library's `platform` module."""
    assert not (ROOT / "platform" / "__init__.py").exists()
