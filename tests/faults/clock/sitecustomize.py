"""Python imports this at its start where the folder is on its path: from then on the wall's clock is wrong.

Done in Python's own functions: libfaketime 0.9.10 breaks `time.sleep` of Python 3.11, which then raises EINVAL.
"""

import os
import time

import time_machine

time_machine.travel(time.time() + float(os.environ["CLOCK_AHEAD_SECONDS"])).start()
