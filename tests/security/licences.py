"""`python -m tests.security.licences`: the licence of each package in requirements.lock, as its own metadata tells,
against a list. Exit status 1 and the names of those that are not on it."""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
# Permissive ones, and those whose copyleft ends at their own files (MPL) or at the library that is linked (LGPL).
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "HPND", "ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}
# How packages without an SPDX expression say it.
CLASSIFIERS = {
    "MIT License": "MIT", "BSD License": "BSD-3-Clause", "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
}
WORDS = {"MIT License": "MIT", "BSD": "BSD-3-Clause", "New BSD": "BSD-3-Clause", "BSD License": "BSD-3-Clause",
         "BSD 3-Clause License": "BSD-3-Clause", "Apache 2": "Apache-2.0", "Apache License": "Apache-2.0"}


def allowed(expression: str) -> bool:
    """Whether one alternative of an SPDX expression has only licences of the list; brackets make it stricter."""
    alternatives = [expression] if "(" in expression else expression.split(" OR ")
    return any(all(part in ALLOWED for part in re.split(r" AND | OR ", one.replace("(", "").replace(")", "")))
               for one in alternatives)


def licence(package: str) -> str:
    """The licence of an installed package as an SPDX expression, else in its own words, else "unknown".

    Raises `PackageNotFoundError`.
    """
    told = metadata(package)
    if expression := told.get("License-Expression"):
        return str(expression)
    names = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or [] if line.startswith("License :: ")]
    if names := [name for name in names if name != "OSI Approved"]:
        return " AND ".join(CLASSIFIERS.get(name, name) for name in names)
    text = (told.get("License") or "unknown").strip().splitlines()[0]
    return WORDS.get(text, text)


def packages(lock: str) -> list[str]:
    """The names in a lock file."""
    return [line.partition("==")[0] for line in lock.splitlines() if "==" in line]


def main() -> int:
    found = {}
    for name in packages(LOCK.read_text()):
        try:
            found[name] = licence(name)
        except PackageNotFoundError:
            print(f"{name}: is locked and not installed here, so its licence is not known", file=sys.stderr)
    refused = {name: text for name, text in found.items() if not allowed(text)}
    for name, text in refused.items():
        print(f"{name}: {text} is not among the licences of tests/security/licences.py", file=sys.stderr)
    print(f"{len(found) - len(refused)} of {len(found)} packages have a licence on the list")
    return 1 if refused or not found else 0


if __name__ == "__main__":
    sys.exit(main())
