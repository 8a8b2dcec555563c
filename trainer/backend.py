"""TensorFlow and Keras, imported without their noise. The only place that imports them.

Their libraries write to the process's standard error while they are loaded, before any of their
own settings is heard; what they write is kept back, and shown if the import fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Read when the library is loaded; even errors say no more than that there is no graphics card.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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


with _quiet_stderr():
    import keras
    import tensorflow as tf

__all__ = ["keras", "tf"]
