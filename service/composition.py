"""The parts that the server and the command line are both made of, built from settings."""

from tqdm import tqdm

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
    settings: Settings, files: ModelFiles, lists: dict[str, PhraseList], progress: Progress = lambda *_: None
) -> ZeroShotClassifier:
    """Load the model and encode the lists; `progress` hears of phrases, and so does a bar on a terminal.

    Raises StartError.
    """
    # Imported here, because torch takes seconds to import and most of what imports this module can go on without it.
    from service.zero_shot.encoder import ClipEncoder  # noqa: PLC0415

    threads = settings.threads or max(1, available_cores() // settings.workers)
    encoder = ClipEncoder.load(files, settings.device, threads)
    total = sum(len(phrase_list.labels) for phrase_list in lists.values())
    with tqdm(total=total, desc="Encoding phrases", unit="phrase", disable=None if total else True) as bar:

        def report(done: int, total: int) -> None:
            bar.update(done - bar.n)
            progress(done, total)

        return ZeroShotClassifier(encoder, encode_served(encoder, lists, report))
