"""The `gaze` command: serve, look, lists, prepare."""

import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
from tqdm import tqdm

from service import __version__
from service.bulk.command import bulk
from service.composition import cache_of, load_classifier, served_lists
from service.errors import GazeError, InvalidSettings, JobError, StartError, UnknownList
from service.images.decode import MIN_SHORT_SIDES, ImageLimits, PreparedImage
from service.images.loader import ImageLoader
from service.logs import configure_logs
from service.settings import read_settings
from service.zero_shot import model_files
from service.zero_shot.cache import require_temporary_folder
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier, require_list
from service.zero_shot.phrase_lists import OWN_LIST, own_list
from service.zero_shot.ranking import Prediction, Ranker, RankOptions, caveats


class _ErrorReporting(click.Group):
    """Turns expected errors into one sentence and an exit code, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (StartError, JobError) as error:
            _end(str(error), error.exit_code)
        except UnknownList as error:
            near = error.detail != error.default_detail
            _end(error.detail if near else "Unknown list. 'gaze lists' names the lists that there are.", os.EX_DATAERR)
        except GazeError as error:
            _end(error.detail, os.EX_DATAERR)


@click.group(cls=_ErrorReporting)
@click.version_option(__version__, prog_name="gaze")
def main() -> None:
    """Of these phrases, which describe this picture best, in CLIP's eyes?

    Settings are environment variables that start with GAZE_; docs/settings.md lists them.
    """
    # Characters that a terminal's encoding lacks become question marks. Answers are printed with print(), because click
    # writes UTF-8 even to streams in ASCII.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Standard output is for answers, and bars show progress.
    configure_logs(sys.stderr, logging.WARNING)


main.add_command(bulk)

# glibc's settings. With several arenas each thread keeps the memory that it decoded in, hundreds of megabytes; and all
# but the first arena return large blocks and fault them in again for each picture. So did the first, in some processes,
# with dynamic thresholds: these are fixed at what glibc lets them grow to.
_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2),
}


@main.command()
def serve() -> None:
    """Fetch and check the model, then serve over HTTP."""
    configure_logs()
    settings = read_settings()
    require_temporary_folder()
    served_lists(settings)
    files = model_files.fetch(settings.model, settings.revision)
    click.echo(f"Checking the model {files.model_id} ...", err=True)
    cache = cache_of(settings)
    backend = load_classifier(settings, files, {}, cache=cache).model.backend
    click.echo(f"Starting on {settings.own_address}; /readyz says when it can answer.", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # The workers load the model from the cache, on the backend that was checked here.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "GAZE_BACKEND": backend, "GAZE_CACHE_DIR": str(cache.path)}
    for name, value in _MALLOC.items():
        environment.setdefault(name, value)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:service.server.gunicorn_conf", "service.wsgi:app"]
    os.execve(sys.executable, command, environment)  # noqa: S606  # nothing of this command came from outside


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--lists", "list_names", default="", help="Names of served lists, separated by commas.")
@click.option("--phrase", "phrases", multiple=True, help="A phrase of your own; may be given more than once.")
@click.option("--top-k", default=5, type=click.IntRange(min=1), help="Phrases of each list to show.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def look(images: tuple[Path, ...], list_names: str, phrases: tuple[str, ...], top_k: int, as_json: bool) -> None:
    """Rank phrases for IMAGES, without a server."""
    settings = read_settings()
    served = served_lists(settings)
    names = [name.strip() for name in list_names.split(",") if name.strip()]
    for name in names:
        require_list(served, name)
    chosen = {name: served[name] for name in names}
    if not all(phrase.strip() and _is_utf8(phrase) for phrase in phrases):
        raise click.UsageError("A phrase must have a visible character, and be in UTF-8.")
    own_lists = [own_list(OWN_LIST, phrases, "{}")] if phrases else []
    if not (chosen or own_lists):
        raise click.UsageError("Give --lists, --phrase, or both.")
    classifier = load_classifier(settings, model_files.fetch(settings.model, settings.revision), chosen)
    with tqdm(total=len(phrases), desc="Encoding phrases", unit="phrase", disable=None if phrases else True) as bar:
        own = classifier.encode_lists(own_lists, lambda done, _total: bar.update(done - bar.n))
    lists = (*classifier.lists_named(chosen), *own)
    for sentence in caveats(classifier.model, lists):
        click.echo(sentence, err=True)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    loader = ImageLoader.create(limits, settings.fetch_policy, slots=1, fast=settings.decode == "fast")
    min_short_side = MIN_SHORT_SIDES * classifier.model.image_size
    failed = 0
    answers: list[dict[str, Any]] = []
    for path in tqdm(images, unit="image", disable=None if len(images) > 1 else True):
        # A file name may be in another encoding than the output.
        answer: dict[str, Any] = {"image": click.format_filename(path)}
        try:
            image = loader.load(loader.read(path), classifier.preprocess, min_short_side)
            answer |= _what_was_decoded(image)
            answer["lists"] = _ranked(classifier, image, lists, top_k)
        except GazeError as error:
            answer["error"] = error.detail
        except OSError as error:
            answer["error"] = f"The file cannot be read ({error.strerror})."
        failed += "error" in answer
        answers.append(answer)
    print(_json(answers) if as_json else _table(answers))
    if failed:
        sys.exit(os.EX_DATAERR)


@main.command()
@click.argument("name", required=False)
def lists(name: str | None) -> None:
    """Name the served lists, or show the phrases of the list NAME."""
    served = served_lists(read_settings())
    if name is None:
        for phrase_list in served.values():
            print(f"{phrase_list.name:32}{len(phrase_list.labels):>6}  {phrase_list.title}")
        return
    require_list(served, name)
    print("\n".join(served[name].phrases))


@main.command()
@click.option("--model-only", is_flag=True, help="Fetch and check the model, and encode nothing.")
def prepare(model_only: bool) -> None:
    """Fetch the model, convert it and encode the lists, so that `gaze serve` starts in seconds, and offline."""
    settings = read_settings()
    files = model_files.fetch(settings.model, settings.revision)
    if model_only:
        click.echo(f"{files.model_id} {files.revision} is on this machine.")
        return
    lists = served_lists(settings)
    cache = cache_of(settings)
    model = load_classifier(settings, files, lists, cache=cache).model
    if cache.complaint:
        raise InvalidSettings(
            f"Not everything could be kept in {cache.path} ({cache.complaint}); make room, or set GAZE_CACHE_DIR."
        )
    phrases = sum(len(phrase_list.labels) for phrase_list in lists.values())
    click.echo(
        f"{model.id} {model.revision} is ready to run on {model.backend} in {model.precision}; "
        f"the features of {phrases} phrases are in {cache.path}."
    )


def _what_was_decoded(image: PreparedImage) -> dict[str, Any]:
    """Return what is unusual about a decoded picture."""
    told: dict[str, Any] = {}
    if image.decoded_at:
        told["decoded_at"] = dict(zip(("width", "height"), image.decoded_at, strict=True))
    if image.warnings:
        told["warnings"] = list(image.warnings)
    return told


def _ranked(
    classifier: ZeroShotClassifier, image: PreparedImage, lists: tuple[EncodedList, ...], top_k: int
) -> dict[str, list[dict[str, Any]]]:
    image_features = classifier.encode_images([image.inputs])[0]
    ranker = Ranker(classifier, RankOptions(top_k))
    return {
        encoded.phrase_list.name: [_said_of(found) for found in ranker.rank(image_features, encoded).predictions]
        for encoded in lists
    }


def _said_of(prediction: Prediction) -> dict[str, Any]:
    return {name: value for name, value in vars(prediction).items() if value is not None or name == "uri"}


def _is_utf8(text: str) -> bool:
    # Bytes of the command line that are not UTF-8 arrive as surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _table(answers: list[dict[str, Any]]) -> str:
    lines: list[str] = []
    for answer in answers:
        lines.append(answer["image"])
        if "error" in answer:
            lines.append(f"  {answer['error']}")
        lines += [f"  {sentence}" for sentence in answer.get("warnings", ())]
        for name, predictions in answer.get("lists", {}).items():
            lines.append(f"  {name}")
            lines += [f"    {found['probability']:7.2%}  {found['phrase']}" for found in predictions]
    return "\n".join(lines)


def _json(answers: list[dict[str, Any]]) -> str:
    return json.dumps(answers, ensure_ascii="utf" not in sys.stdout.encoding.lower(), indent=2)


def _end(sentence: str, exit_code: int) -> NoReturn:
    click.echo(f"gaze: {sentence}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
