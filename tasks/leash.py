"""Start a command that dies with its parent: `python leash.py PARENT_PID SIGNAL COMMAND...`.

The kernel sends SIGNAL to the command when the process that started it is gone, however it went (kill -9, a crash).
A small program instead of `preexec_fn`, which may deadlock in a process with threads. Where the kernel has no such
call (macOS) the command runs without it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death, command = int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death)
    if os.getppid() != parent:  # it went before the kernel was told
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
