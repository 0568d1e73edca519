"""One attempt at one run, in a process of its own, forked from the warm forkserver.

This module itself imports neither torch nor the engines: the worker imports it only to name `main`.
"""

import faulthandler
import math
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from . import wire
from .recorder import KEY_LENGTH, KEYS, PipeRecorder

CANCEL = b"cancel"
TEMPORARY = "tmp"  # what a method leaves there goes with the attempt's folder, however it ends
SLOW_IMPORTS = ("torch._dynamo", "scipy.optimize", "scipy.sparse")  # kept warm once a run needed them


def main(control: Connection, log: Connection, job: dict[str, Any]) -> None:
    """Execute `job` and end this process. `log` takes stdout and stderr, of C code as well.

    `job`: spec, folder, gpus (indices), cores, artifact_bytes, until, made_by.
    """
    os.setsid()
    _redirect(log)
    control_lock = threading.Lock()

    def send(message: bytes) -> None:
        try:
            with control_lock:
                control.send_bytes(message)
        except OSError:
            _end_group()  # nobody is left to write for

    recorder = PipeRecorder(send, Path(job["folder"]), job["artifact_bytes"])
    threading.Thread(target=_listen, args=(control, recorder), name="control", daemon=True).start()
    recorder.start()
    ended = _attempt(job, recorder, send)
    try:
        recorder.close()
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        ended = {"state": "failed", "kind": "crashed", "message": f"{type(error).__name__}: {error}"}
    send(wire.pack({"type": "ended", "imported": [name for name in SLOW_IMPORTS if name in sys.modules], **ended}))
    os._exit(0)  # no tear-down of torch, no waiting for processes a method left behind: the worker ends the group


def describe(answer: Connection) -> None:
    """The catalogue, and what went wrong with plug-ins: asked for here, so that the worker imports no torch."""
    from engines.core import registry

    answer.send((registry.describe(), registry.plugin_errors()))


def _redirect(log: Connection) -> None:
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    log.close()
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(file=2, all_threads=True)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # the forkserver's own


def _listen(control: Connection, recorder: PipeRecorder) -> None:
    """The worker asks for an end by a message; when the worker is gone, so is this process and all it started."""
    while True:
        try:
            if control.recv_bytes() == CANCEL:
                recorder.cancel()
        except (EOFError, OSError):
            _end_group()


def _end_group() -> None:
    os.killpg(0, signal.SIGKILL)


def _limit(job: dict[str, Any]) -> None:
    """Before the first torch operation: devices, threads, no core files, first for the kernel's memory killer."""
    from .preload import die_with_parent

    die_with_parent()
    cores = str(job["cores"])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = cores  # for processes that the method starts
    os.environ["TMPDIR"], tempfile.tempdir = str(Path(job["folder"]) / TEMPORARY), None
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in job["gpus"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        pass


def _attempt(job: dict[str, Any], recorder: PipeRecorder, send: Callable[[bytes], None]) -> dict[str, Any]:
    """Execute the spec; how it ended, as JSON-ready data. What executes it is told first: it may not end in order."""
    _limit(job)
    import torch
    from pydantic import ValidationError

    from engines.core import errors
    from engines.core.execute import execute
    from engines.core.provenance import provenance
    from engines.core.runspec import RunSpec, field_errors

    device = "cuda:0" if job["gpus"] else "cpu"
    try:
        try:
            spec = RunSpec.model_validate(job["spec"])
        except ValidationError as error:
            raise errors.InvalidSpec(field_errors(error)) from None
        _thread_pools(job["cores"])
        problem, method = spec.resolve()
        made = provenance(type(method), type(problem), torch.device(device))
        send(wire.pack({"type": "provenance", "made": finite(made)}))
        outcome = execute(spec, recorder, Path(job["folder"]), device=device, made_by=job["made_by"],
                          until=job["until"])
    except errors.Cancelled:
        return {"state": "cancelled"}
    except errors.EngineError as error:
        if not isinstance(error, errors.InvalidSpec | errors.Diverged | errors.MissingData | errors.MissingBackend):
            traceback.print_exc()
        return {"state": "failed", "kind": error.kind, "message": str(error)}
    except torch.cuda.OutOfMemoryError as error:
        traceback.print_exc()
        return {"state": "failed", "kind": "out of memory", "message": str(error)}
    except BaseException as error:  # a method may raise anything, SystemExit among it
        traceback.print_exc()
        return {"state": "failed", "kind": _kind(error), "message": _last_line(error)}
    if fault := _unkeepable(outcome.summary):
        return {"state": "failed", "kind": "crashed", "message": fault}
    return {"state": "succeeded", "summary": finite(outcome.summary), "cost": finite(outcome.cost)}


def _unkeepable(summary: dict[str, float]) -> str:
    """Why a summary is too large to be kept; empty when it is not. The limits are those of metrics."""
    if len(summary) > KEYS:
        return f"the method finished with {len(summary)} numbers: a run may have {KEYS} at most"
    if long := next((name for name in summary if len(name) > KEY_LENGTH), None):
        return f"the method finished with {long[:40]!r}...: a name may have {KEY_LENGTH} characters at most"
    return ""


def _thread_pools(cores: int) -> None:
    """Of NumPy, SciPy and torch. Oversubscribed pools slow everything down."""
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(cores)
    torch.set_num_threads(cores)


def _kind(error: BaseException) -> str:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's CPU allocator
        return "out of memory"
    return "crashed"


def _last_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()[-2000:]


def finite(value: Any) -> Any:
    """`value` as JSON can keep it: a number that is not finite becomes None, an unknown object its text."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
