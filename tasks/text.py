"""Text from runs, as both databases can keep it."""

import re
from typing import Any

NOT_KEPT = re.compile("[\0\ud800-\udfff]")  # PostgreSQL keeps no NUL; half of a surrogate pair is no UTF-8


def storable(value: Any) -> Any:
    """`value` (JSON-ready) with U+FFFD for each character, in texts and names, that a database would refuse."""
    if isinstance(value, str):
        return NOT_KEPT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
