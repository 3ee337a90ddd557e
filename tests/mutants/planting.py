"""A copy of the tree, in which one defect at a time is planted."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.mutants.defects import Defect

_LINKED = (".venv", "tests/viewer/node_modules", "tests/typescript/node_modules")
"""What `make` installs, which a copy shares."""


class Misplaced(Exception):
    """A defect's place is not there, or there are several."""


@dataclass(frozen=True)
class Tree:
    """A checkout, or a copy of one."""

    root: Path

    @classmethod
    def copied(cls, checkout: Path, folder: Path) -> Self:
        """Copy all that git has or would take of a checkout, as it stands."""
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=checkout, capture_output=True, check=True, encoding="utf-8").stdout
        for name in names.split("\0"):
            if name and (checkout / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(checkout / name, folder / name)
        for name in _LINKED:
            if (checkout / name).exists():
                (folder / name).symlink_to((checkout / name).resolve())
        return cls(folder)

    def place_of(self, defect: Defect) -> Path:
        """Return the file in which a defect's code stands once. Raises Misplaced."""
        service = self.root / "service"
        own = service / defect.file
        if own.is_file() and own.read_text(encoding="utf-8").count(defect.old) == 1:
            return own
        files = [path for ending in ("py", "js") for path in sorted(service.rglob(f"*.{ending}"))]
        counts = {path: path.read_text(encoding="utf-8").count(defect.old) for path in files}
        holding = [path for path, count in counts.items() if count]
        if len(holding) != 1 or counts[holding[0]] != 1:
            where = ", ".join(str(path.relative_to(self.root)) for path in holding) or "nowhere"
            raise Misplaced(f"'{defect.name}': {defect.old!r} must stand once in service/, and stands in {where}.")
        return holding[0]


@contextmanager
def planted(tree: Tree, defect: Defect) -> Iterator[Path]:
    """Let the tree have the defect while a `with` block lasts."""
    place = tree.place_of(defect)
    sound = place.read_text(encoding="utf-8")
    place.write_text(sound.replace(defect.old, defect.new), encoding="utf-8")
    try:
        yield place
    finally:
        place.write_text(sound, encoding="utf-8")
