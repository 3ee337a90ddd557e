"""The parts that the server and the command line are both made of, built from settings."""

from service.cores import available_cores
from service.settings import Settings
from service.zero_shot.classifier import ZeroShotClassifier, encode_served
from service.zero_shot.features import Progress
from service.zero_shot.hub import ModelFiles
from service.zero_shot.phrase_lists import PhraseList, built_in_folder, read_lists


def served_lists(settings: Settings) -> dict[str, PhraseList]:
    """Return the built-in lists and a museum's own. Raises InvalidList."""
    return read_lists(built_in_folder(), *([settings.lists_dir] if settings.lists_dir else []))


def load_classifier(
    settings: Settings, files: ModelFiles, lists: dict[str, PhraseList], progress: Progress
) -> ZeroShotClassifier:
    """Load the model and encode the lists; `progress` hears of phrases. Raises StartError."""
    # Imported here, because torch takes seconds to import and most of what imports this module can go on without it.
    from service.zero_shot.encoder import ClipEncoder  # noqa: PLC0415

    threads = settings.threads or max(1, available_cores() // settings.workers)
    encoder = ClipEncoder.load(files, settings.device, threads)
    return ZeroShotClassifier(encoder, encode_served(encoder, lists, progress))
