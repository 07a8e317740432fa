"""One thread for the tests' tiny models.

A second thread gains nothing on them, and where the cores are shared it spins for its turn: twelve times as long was
measured. `OMP_NUM_THREADS`, when set, is kept.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, and by the tests' child processes
