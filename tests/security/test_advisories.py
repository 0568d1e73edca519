import json
import subprocess
from typing import Any

import pytest

from tests.security import advisories

HOLE = {"name": "django", "version": "5.2.0", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["5.2.9"]}]}
SOUND = {"name": "click", "version": "8.5.1", "vulns": []}
SKIPPED = {"name": "own", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.mark.parametrize(("rows", "error", "code", "words"), [
    ([HOLE, SOUND], "", 1, "2 packages checked for known holes, 1 found"),
    ([SOUND], "", 0, "1 packages checked for known holes, 0 found"),
    ([SOUND, SKIPPED], "", 0, "NOT CHECKED: 1 that"),
    ([SKIPPED, SKIPPED], "No known vulnerabilities found", 0, "the advisory service knows none of the 2"),
    (None, "ERROR:pip_audit._cli:Could not connect to the service", 0, "NOT CHECKED for known holes: the advisory"),
    (None, "error: unrecognized arguments: --nonsense", 1, "pip-audit failed"),
])
def test_what_is_said(rows: Any, error: str, code: int, words: str, monkeypatch: pytest.MonkeyPatch,
                      capsys: pytest.CaptureFixture[str]) -> None:
    """The service's answers cannot be had everywhere: these are pip-audit's own, as it writes them."""
    text = json.dumps({"dependencies": rows, "fixes": []}) if rows is not None else ""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, text, error))
    assert advisories.main() == code
    said = capsys.readouterr()
    assert words in said.out + said.err
    assert (HOLE["version"] in said.err) is (rows is not None and HOLE in rows)
