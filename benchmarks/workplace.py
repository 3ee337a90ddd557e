"""Where benchmarks keep what they make: one folder, which may be deleted at any time."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pictures import make_picture
from benchmarks.reference_clip import make_reference_clip
from service.zero_shot.model_files import DEFAULT_REVISION

_OWN_PREFIXES = ("GAZE_", "HF_", "INFINITY_")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Workplace:
    """The folder, and what lies where in it."""

    folder: Path

    @property
    def hub_home(self) -> Path:
        """A cache of the hub in which the reference model has the default model's name; HF_HOME for the peers."""
        return self.folder / "hub"

    @property
    def model(self) -> Path:
        """The reference model's directory."""
        repository = self.hub_home / "hub" / "models--openai--clip-vit-base-patch32"
        return repository / "snapshots" / DEFAULT_REVISION

    @property
    def cache(self) -> Path:
        """Gaze's cache, which is kept from one run to the next."""
        return self.folder / "cache"

    def log(self, name: str) -> Path:
        """Return the file that the process of this name writes to."""
        return self.folder / "logs" / f"{name}.log"

    def picture(self, size: tuple[int, int]) -> Path:
        """Return the JPEG of this width and height."""
        return make_picture(self.folder / "pictures", size)

    def make_model(self) -> None:
        """Make the reference model, if it is not there."""
        if (self.model / "made").exists():
            return
        make_reference_clip(self.model)
        main = self.model.parent.parent / "refs" / "main"
        main.parent.mkdir(parents=True, exist_ok=True)
        main.write_text(DEFAULT_REVISION)
        (self.model / "made").touch()

    def environment(self, **chosen: str | Path) -> Mapping[str, str]:
        """Return this process's variables without those that set a service, a library's threads or a proxy."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OWN_PREFIXES)
            and name not in _THREAD_VARIABLES
            and not name.lower().endswith("_proxy")
        }
        own = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
        return {**inherited, **own, **{name: str(value) for name, value in chosen.items()}}
