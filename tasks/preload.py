"""Imported once, by the forkserver: everything a run's process needs is then there when it is forked.

Only imports happen here, never a torch operation: threads of its pools would be missing in every child.
"""

import ctypes
import gc
import importlib
import os
import signal
import sys
from pathlib import Path

from . import ROOT  # noqa: F401  (puts the roots on sys.path)

SECRETS = ("SECRET_KEY", "DATABASE_URL", "METRICS_URL", "REDIS_URL", "DEMO_PASSWORD")
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere the control pipe alone tells)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


LESSONS = os.environ.pop("ASSAY_FORKSERVER", "")  # the file that names what runs turned out to import
if LESSONS:
    die_with_parent()
    for name in SECRETS:
        os.environ.pop(name, None)

import torch  # noqa: E402, F401

from engines.core import provenance, registry  # noqa: E402


def _import_more(*_: object) -> None:
    """On SIGUSR1, between two forks: import the modules named in the file."""
    for module in Path(LESSONS).read_text().split():
        try:
            importlib.import_module(module)
        except ImportError:
            pass
    gc.freeze()


for engine in registry.engines().values():
    for part in (*engine.problems.values(), *engine.methods.values()):
        provenance.distribution_version(part)
provenance.commit()  # what these imports were made from; a run started later must not say otherwise
provenance.package_versions()
provenance.cpu_model()
gc.collect()
gc.freeze()  # pages that the collector never touches stay shared with every child
if LESSONS:
    signal.signal(signal.SIGUSR1, _import_more)
