"""Real processes that speak to each other over gloo on this machine: what a simulated cluster is held against."""

import multiprocessing
import queue
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

MOST = 4  # processes


def launch(function: Callable[..., Any], processes: int, *arguments: Any, seconds: float = 60.0) -> list[Any]:
    """`function(rank, processes, *arguments)` in new processes, with torch.distributed ready; their results by rank.

    `function` is importable by name, and results are what can be pickled. The processes meet through a file, so no port
    is chosen beforehand. Raises `RuntimeError` with the first failure's message, `TimeoutError` after `seconds`; no
    process outlives the call.
    """
    if not 2 <= processes <= MOST:
        raise ValueError(f"processes must be from 2 to {MOST}, not {processes}")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="assay-gloo-") as folder:
        answers = context.Queue()
        started = [context.Process(target=_process, daemon=True, args=(
            rank, processes, Path(folder) / "meeting", seconds, answers, function, arguments))
            for rank in range(processes)]
        try:
            for process in started:
                process.start()
            return _collect(answers, processes, seconds)
        finally:
            for process in started:
                process.kill()
                process.join()


def _collect(answers: Any, processes: int, seconds: float) -> list[Any]:
    found: dict[int, Any] = {}
    until = time.monotonic() + seconds
    while len(found) < processes:
        try:
            rank, result, failure = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            silent = sorted(set(range(processes)) - found.keys())
            raise TimeoutError(f"no answer from ranks {silent} within {seconds:g} s") from None
        if failure:
            raise RuntimeError(f"rank {rank}: {failure}")
        found[rank] = result
    return [found[rank] for rank in range(processes)]


def _process(
    rank: int, processes: int, meeting: Path, seconds: float, answers: Any, function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    try:
        distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=processes,
                                       timeout=timedelta(seconds=seconds))
        answers.put((rank, function(rank, processes, *arguments), ""))
    except Exception as error:  # told to the parent, whatever it is
        answers.put((rank, None, f"{type(error).__name__}: {error}"))
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
