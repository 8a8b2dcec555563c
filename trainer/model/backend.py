"""TensorFlow and Keras, imported without their start-up messages. All other modules import both from here.

While loading, the native libraries of both write to standard error before any log setting takes effect. This
output is captured, and shown only if the import fails.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# TensorFlow reads this when it loads. Level 3 hides errors, too: they only report that there is no GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENAS = -1, -3, -8
"""The options M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of `mallopt` (glibc, malloc.h)."""


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as kept_back:
        os.dup2(kept_back.fileno(), 2)
        try:
            yield
        except BaseException:
            kept_back.seek(0)
            os.write(original, kept_back.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def _keep_memory() -> None:
    """Make the C library keep freed memory instead of returning it to the kernel.

    Hot path: each training step allocates and frees tables of tens of megabytes. Reusing their pages makes
    a step a seventh faster. C libraries other than glibc have no `mallopt`; there, nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option, value in ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_THRESHOLD, 2**30), (_ARENAS, 1)):
            set_option(option, value)


_keep_memory()
with _quiet_stderr():
    import keras
    import tensorflow as tf

__all__ = ["keras", "tf"]
