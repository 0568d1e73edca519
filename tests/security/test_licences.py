import pytest

from tests.security import licences


@pytest.mark.parametrize(("expression", "fits"), [
    ("MIT", True), ("BSD-3-Clause AND 0BSD AND MIT", True), ("Apache-2.0 OR BSD-2-Clause", True),
    ("GPL-3.0-only OR MIT", True), ("GPL-3.0-only", False), ("AGPL-3.0-or-later", False),
    ("MIT AND GPL-2.0-only", False), ("MIT AND (GPL-3.0-only OR BSD-3-Clause)", False),
    ("SSPL-1.0", False), ("unknown", False), ("Proprietary", False),
    ("GNU General Public License v3 (GPLv3)", False), ("", False),
])
def test_the_list(expression: str, fits: bool) -> None:
    assert licences.allowed(expression) is fits


def test_everything_that_is_shipped_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main() == 0, capsys.readouterr().err
    assert len(licences.packages(licences.LOCK.read_text())) > 80


def test_packages_that_say_it_in_different_ways() -> None:
    assert licences.licence("django") == "BSD-3-Clause"
    assert licences.licence("scipy") == "BSD-3-Clause"  # a classifier; the text is a whole page
    assert licences.licence("amqp") == "BSD-3-Clause"
