"""What a worker knows about its right to write for one attempt."""

import time


class Lease:
    """One attempt at one run. It may write while the database confirmed the lease less than a lease ago.

    A process that was stopped for longer (a sleeping laptop, SIGSTOP) must ask before it writes again.
    """

    def __init__(self, run_id: int, attempt: int, seconds: float, asked: float | None = None):
        """`asked`: monotonic seconds just before the database was asked for the run; now, if not given."""
        self.run_id, self.attempt, self.seconds = run_id, attempt, seconds
        self.lost = self.ended = False
        self._confirmed = time.monotonic() if asked is None else asked

    def confirm(self, at: float) -> None:
        """`at`: monotonic seconds just before the database was asked."""
        self._confirmed = max(self._confirmed, at)

    def may_write(self) -> bool:
        """`ended`: the final write went through, so what is still buffered belongs to the run."""
        return self.ended or (not self.lost and time.monotonic() - self._confirmed < self.seconds)
