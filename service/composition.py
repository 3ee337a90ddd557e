"""The parts that the server and the command line share, built from settings."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import structlog
from platformdirs import user_cache_path
from tqdm import tqdm

from service.limits.threads import available_cores
from service.settings import Settings
from service.zero_shot.backends.selection import ComputeOptions, load_model
from service.zero_shot.cache import CacheFolder
from service.zero_shot.classifier import ZeroShotClassifier, encode_served
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.model_files import ModelFiles, fingerprint
from service.zero_shot.phrase_lists import PhraseList, built_in_folder, read_lists
from service.zero_shot.text_features import Progress, TextFeatureFiles, TextFeatures

log = structlog.get_logger()


def served_lists(settings: Settings) -> dict[str, PhraseList]:
    """Return the built-in lists and a museum's own. Raises InvalidList."""
    return read_lists(built_in_folder(), *([settings.lists_dir] if settings.lists_dir else []))


def cache_of(settings: Settings) -> CacheFolder:
    """Return the folder of converted models and text features.

    By default the user's own cache, or a temporary one if there is none: a container's user may be a number without a
    name, and without a home or with / as its home.
    """
    if settings.cache_dir:
        return CacheFolder(settings.cache_dir)
    try:
        folder = user_cache_path("gaze")
        folder.mkdir(parents=True, exist_ok=True)
        return CacheFolder(folder)
    except (RuntimeError, OSError):  # platformdirs raises RuntimeError if there is no home
        pass
    try:
        folder = Path(tempfile.mkdtemp(prefix="gaze-cache-"))
    except OSError:
        return CacheFolder(Path("/.cache/gaze"))  # not writable either, which its first write reports
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    log.warning("this user has no cache; set GAZE_CACHE_DIR to a folder that lasts", folder=str(folder))
    cache = CacheFolder(folder)
    cache.complaint = "it goes with this process"
    return cache


def load_classifier(
    settings: Settings,
    files: ModelFiles,
    lists: dict[str, PhraseList],
    progress: Progress = lambda *_: None,
    waiting: Callable[[], object] = lambda: None,
    *,
    cache: CacheFolder | None = None,
    checked: bool = False,
) -> ZeroShotClassifier:
    """Load the model and encode the lists, or read both from the cache.

    progress: called with counts of phrases, as is a bar on a terminal; waiting: called if another process does so;
    checked: whether this model was loaded and checked a moment ago, so that one picture is enough now.
    Raises StartError.
    """
    cache = cache or cache_of(settings)
    threads = settings.threads or max(1, available_cores() // settings.workers)
    computing = ComputeOptions(settings.device, settings.backend, settings.precision, threads)
    encoder = ClipEncoder(load_model(files, computing, cache, waiting, compare=not checked))
    encoder.check_answers(pictures_only=checked)
    kept = TextFeatureFiles(cache, fingerprint(files), encoder.model)
    total = sum(len(phrase_list.labels) for phrase_list in lists.values())
    with tqdm(total=total, desc="Encoding phrases", unit="phrase", disable=None if total else True) as bar:

        def report(done: int, total: int) -> None:
            bar.update(done - bar.n)
            progress(done, total)

        def features_of(phrase_list: PhraseList, report: Progress) -> TextFeatures:
            return kept.features_of(phrase_list.name, phrase_list.phrases, encoder.encode_text, report, waiting)

        return ZeroShotClassifier(encoder, encode_served(lists, features_of, report))
