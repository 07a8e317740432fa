"""One thread for the tests' tiny models, and Triton's interpreter for the kernels.

A second thread gains nothing on them, and where the cores are shared it spins for its turn: twelve times as long was
measured. `OMP_NUM_THREADS`, when set, is kept.

Triton reads its variable when it is first imported, so it is set before anything can; nothing on the CPU's own path
imports triton. On a machine with a GPU, TRITON_INTERPRET=0 runs the same tests' kernels compiled.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, and by the tests' child processes
os.environ.setdefault("TRITON_INTERPRET", "1")
