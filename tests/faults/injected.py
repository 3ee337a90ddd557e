"""The real service, but for a backend that hangs or lacks memory while a file says so. gunicorn loads this module.

FAULTS_FOLDER names the folder of these files: `hang`; `memory`, with the number of pictures that there is memory for.
FAULTS_PATIENCE is how many seconds a pass may take at least before it is given up.
"""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service import composition
from service.zero_shot import batching
from service.zero_shot.backends import selection
from service.zero_shot.backends.base import Backend, LoadedModel
from service.zero_shot.preprocessing.preparation import ImageInputs

FOLDER = Path(os.environ["FAULTS_FOLDER"])


class FaultyBackend:
    """A backend that does what it did before, unless a file is there."""

    def __init__(self, backend: Backend) -> None:
        self.max_concurrent_batches, self.image_batch, self.text_batch = (
            backend.max_concurrent_batches,
            8,
            backend.text_batch,
        )
        self._backend = backend

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        """Return the features of n pictures, once no file `hang` is there. Raises MemoryError for too many."""
        while (FOLDER / "hang").exists():
            time.sleep(0.01)
        memory = FOLDER / "memory"
        if memory.exists() and len(next(iter(inputs.values()))) > int(memory.read_text()):
            raise MemoryError
        return self._backend.image_features(inputs)

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of phrases."""
        return self._backend.text_features(token_ids)


_load_model = selection.load_model


def _faulty(*arguments: Any, **options: Any) -> LoadedModel:
    loaded = _load_model(*arguments, **options)
    return dataclasses.replace(loaded, backend=FaultyBackend(loaded.backend))


setattr(composition, "load_model", _faulty)  # noqa: B010  # its own import, which is not for others
batching.MIN_STALL_TIMEOUT = float(os.environ["FAULTS_PATIENCE"])

from service.wsgi import app  # noqa: E402, F401  # gunicorn takes it from here
