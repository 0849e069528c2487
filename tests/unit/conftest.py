"""Unit tests run on one thread: their tensors are small, and threads waiting for each other cost time."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
