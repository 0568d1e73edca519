"""Signals that ask a process to do something."""

import signal
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue


def upon(numbers: Iterable[signal.Signals], action: Callable[[], object]) -> None:
    """Call `action`, in a thread, for each of these signals. From the main thread.

    A handler runs between any two steps of the main thread, which may hold the very lock that the action wants (even
    `Event.set` takes one), or be in another handler. So all it does is put a note into a queue that needs none.
    """
    notes: SimpleQueue[int] = SimpleQueue()

    def attend() -> None:
        while notes.get():
            action()

    threading.Thread(target=attend, name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, lambda received, frame: notes.put(received))
