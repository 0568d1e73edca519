"""docs/add-a-method.md, followed literally."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "add-a-method.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_works_as_written(tmp_path):
    for text in (*blocks("python"), *blocks("toml")):
        path = tmp_path / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (install,), *runs = [text.splitlines() for text in blocks("sh")]
    ((refused,),) = [text.splitlines() for text in blocks("sh-fails")]
    assert len(runs) == 1

    # the environment of the tests stays as it is: pip installs into a folder on the path
    site = tmp_path / "site"
    words = install.replace("python -m pip", f"{sys.executable} -m pip").split()
    subprocess.run([*words, "--target", str(site), "--no-index"], cwd=tmp_path, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(site), "ASSAY_HOME": str(tmp_path / "home")}

    def shell(command, *more):
        return subprocess.run([sys.executable, *command.split()[1:], *more], cwd=ROOT, env=environment,
                              capture_output=True, text=True, timeout=250)

    done = shell(runs[0][0], "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["summary"]["test/accuracy"] > 0.8
    assert answer["spec"]["method"]["lr"] == 0.002
    assert answer["provenance"]["code"]["version"] == "assay-sign-descent-0.1.0"
    assert answer["cost"]["state_bytes"] == 0

    wrong = shell(refused)
    assert wrong.returncode == 1
    assert "method.lr" in wrong.stderr and "Traceback" not in wrong.stderr
