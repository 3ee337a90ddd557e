"""CacheFolder: files that are expensive to make, written atomically and shared between processes."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from service.errors import InvalidSettings

log = structlog.get_logger()


class CacheFolder:
    """A folder that is safe to delete; if it is not writable, nothing is cached."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complaint: str | None = None
        """Why the first failed write failed."""

    def __truediv__(self, name: str) -> Path:
        """Return the path of an entry, which need not exist."""
        return self.path / name

    @contextlib.contextmanager
    def lock(self, name: str, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Hold the lock on an entry; `waiting` is called once if another process holds it.

        The lock ends with its process. If no lock can be made, two processes may do the same work.
        """
        with contextlib.ExitStack() as held:
            try:
                path = self.path / "locks" / name.replace("/", "-")
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = FileLock(path)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    waiting()
                    lock.acquire()
                held.callback(lock.release)
                self._remove_unfinished(self.path / name)
            except OSError as error:
                self._tell(error)
            yield

    def write(self, name: str, fill: Callable[[Path], object]) -> bool:
        """Let `fill` make a file or folder at a temporary path, then rename it; return whether that worked."""
        target = self.path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=_unfinished(target)) as scratch:
                made = Path(scratch) / target.name
                fill(made)
                for file in [made, *made.rglob("*")]:
                    # Some libraries write for one user alone, and the service may run as another.
                    file.chmod(0o755 if file.is_dir() else 0o644)
                    _flush(file)
                if os.path.lexists(target) and (made.is_dir() or target.is_dir()):
                    target.replace(Path(scratch) / "before")
                made.replace(target)
        except Exception as error:  # noqa: BLE001  # each library raises its own for a full disk
            self._tell(error)
            return False
        return True

    def _tell(self, error: Exception) -> None:
        if self.complaint is None:
            self.complaint = (isinstance(error, OSError) and error.strerror) or str(error)
            log.warning("the cache cannot be written to", folder=str(self.path), reason=self.complaint)

    @staticmethod
    def _remove_unfinished(target: Path) -> None:
        """Remove what a killed process left of an entry, whose lock this one holds."""
        for left in target.parent.glob(f"{_unfinished(target)}*"):
            shutil.rmtree(left, ignore_errors=True)


def _unfinished(target: Path) -> str:
    return f".unfinished-{target.name}-"


def require_temporary_folder() -> None:
    """Raise InvalidSettings if this user may write no temporary file anywhere, which torch and gunicorn need."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise InvalidSettings(
            "This user can write to no folder for temporary files; let it write to /tmp, or set TMPDIR to another."
        ) from None


def digest_of(*texts: str) -> str:
    """Return the SHA-256, in hex, of some texts in order."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Flush a file or a folder's entries to disk, so that a name never refers to a partial file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
