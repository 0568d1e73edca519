"""Text in a table that somebody opens with a spreadsheet."""

import re
from typing import Any

# What a spreadsheet takes for a formula, full-width signs included; `window.assay.cell` in files.js is the same.
FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


def cell(value: Any) -> Any:
    """`value` for a CSV; a text that would be run as a formula gets an apostrophe before it, which says: text."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
