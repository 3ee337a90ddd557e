"""`gaze bulk`: a whole collection."""

import codecs
import contextlib
import ctypes
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from service.bulk.items import Engine
from service.bulk.output import FORMS, require_pyarrow
from service.bulk.plan import Plan
from service.bulk.run import Collection, Lists, Output, RunOptions, Start, run
from service.images.decode import ImageLimits
from service.limits.threads import available_cores
from service.settings import read_settings
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.model_files import ModelFiles

SOME_FAILED = 3
"""Exit code of a finished job with failed items; other codes mean that it is unfinished."""

_M_ARENA_MAX = -8  # from glibc's malloc.h
_FORMATS = tuple(name for forms in FORMS.values() for name in forms)
_UTC = "%Y-%m-%dT%H:%M:%SZ"


def _check_phrase(_context: click.Context, _option: click.Parameter, phrases: tuple[str, ...]) -> tuple[str, ...]:
    # Bytes of the command line that are not UTF-8 arrive as surrogates.
    if any(not phrase.strip() or any("\ud800" <= each <= "\udfff" for each in phrase) for phrase in phrases):
        raise click.BadParameter("A phrase must have a visible character, and be in UTF-8.")
    return tuple(dict.fromkeys(phrases))


def _check_encoding(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    try:
        "a".encode(name or "utf-8")
        return name and codecs.lookup(name).name
    except (LookupError, UnicodeError):
        raise click.BadParameter("There is no such encoding; windows-1252 is one.") from None


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--lists", "list_names", default="", help="Names of served lists, separated by commas.")
@click.option(
    "--phrase",
    "phrases",
    multiple=True,
    callback=_check_phrase,
    help="A phrase of your own; may be given more than once.",
)
@click.option("--top-k", default=5, type=click.IntRange(min=1), help="Phrases of each list to keep.", show_default=True)
@click.option("--min-probability", default=0.0, type=click.FloatRange(0, 1), help="Keep no phrase less probable.")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Ends in .csv, .jsonl or .parquet."
)
@click.option("--format", "form", type=click.Choice(_FORMATS), help="A form of CSV; else the plain one.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", help="What runs it.", show_default=True)
@click.option("--ray-address", help="Of a Ray cluster; else Ray is started here.")
@click.option("--ray-cores", type=click.IntRange(min=1), help="Of each model on Ray; else 2, or all of its GPU.")
@click.option("--encoding", callback=_check_encoding, help="Of tables that begin with no byte order mark; else UTF-8.")
@click.option("--limit-items", type=click.IntRange(min=1), help="Look at so many pictures, for a trial.")
@click.option("--limit-bytes", type=click.IntRange(1024, 1024**3), help="Of one picture; else GAZE_MAX_IMAGE_BYTES.")
@click.option("--limit-pixels", type=click.IntRange(1, 178_956_970), help="Of one picture; else GAZE_MAX_IMAGE_PIXELS.")
@click.option("--retry-errors", is_flag=True, help="Look, and read documents and folders, once more where that failed.")
@click.option("--restart", is_flag=True, help="Throw away what an earlier run has left, and begin anew.")
@click.option(
    "--date", type=click.DateTime([_UTC]), help="Of the answers, as 2026-01-31T00:00:00Z; else when it begins."
)
@click.option("--quiet", is_flag=True, help="Say nothing that is no error.")
def bulk(
    *,
    sources: tuple[str, ...],
    list_names: str,
    phrases: tuple[str, ...],
    top_k: int,
    min_probability: float,
    out: Path,
    form: str | None,
    engine: str,
    ray_address: str | None,
    ray_cores: int | None,
    encoding: str | None,
    limit_items: int | None,
    limit_bytes: int | None,
    limit_pixels: int | None,
    retry_errors: bool,
    restart: bool,
    date: datetime | None,
    quiet: bool,
) -> None:
    """Rank phrases for all pictures of SOURCES, without a server.

    A source is a folder with all in it (but for links to other folders), a pattern such as 'scans/**/*.tif', a
    picture, a table (CSV, also with semicolons or tabs) with the columns object_number and url, file or image, or the
    URI of a IIIF manifest, collection or image. The object number of a file is its name without the ending: inv123_2
    for inv123_2.jpg; that of a IIIF canvas is its URI. What a folder has besides pictures is counted, by ending.

    How far it is stands in OUT.progress. Stopped at any moment, the same command goes on with it; what the sources
    had when it was first begun is what is looked at. A picture that cannot be looked at does not stop the others:
    OUT.errors.csv has it, with the reason.

    Ends with 0 where all pictures were looked at, with 3 where some failed, and with another code where it is not done.
    """
    output = _output(out, form)
    if output.form == "parquet":
        require_pyarrow()
    settings = read_settings()
    limits = ImageLimits(limit_bytes or settings.max_image_bytes, limit_pixels or settings.max_image_pixels)
    names = tuple(dict.fromkeys(name.strip() for name in list_names.split(",") if name.strip()))
    if not names and not phrases:
        raise click.UsageError("Give --lists, --phrase, or both.")
    plan = Plan(settings, names, phrases, top_k, min_probability, limits)
    began = date.replace(tzinfo=UTC) if date else datetime.now(UTC).replace(microsecond=0)
    start = _start_on_ray(plan, ray_cores, ray_address) if engine == "ray" else _start_here(plan, quiet=quiet)
    options = RunOptions(began, restart, retry_errors, quiet)

    def stop(*_signal: object) -> None:
        click.echo(f"Stopped. The same command goes on; {output.progress} says where.", err=True)
        sys.stderr.flush()
        if engine == "local":
            # Immediately: threads that wait for a host would delay an ordinary exit for a minute.
            os._exit(128 + signal.SIGINT)
        sys.exit(128 + signal.SIGINT)

    signal.signal(signal.SIGINT, stop)
    failed = run(plan, Collection(sources, limit_items, encoding), output, options, start)
    if failed:
        click.echo(f"{failed} images could not be looked at; {output.errors} says why.", err=True)
        sys.exit(SOME_FAILED)


def _start_here(plan: Plan, *, quiet: bool) -> Start:
    def start(files: ModelFiles, lists: Lists) -> tuple[Engine, ModelDescription]:
        # As `serve` does: otherwise each thread keeps the memory that it decoded a picture in.
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
        ready = plan.engine(files, lists, available_cores())
        for warning in () if quiet else ready.warnings:
            click.echo(warning, err=True)
        return ready.local, ready.model

    return start


def _start_on_ray(plan: Plan, cores: int | None, address: str | None) -> Start:
    def start(files: ModelFiles, lists: Lists) -> tuple[Engine, ModelDescription]:
        from service.bulk.on_ray import RayEngine  # noqa: PLC0415  # of no use to others

        engine = RayEngine(plan, plan.facts(lists, files), cores, address)
        return engine, engine.model

    return start


def _output(path: Path, form: str | None) -> Output:
    """Return the output's path and format. Raises UsageError."""
    forms = FORMS.get(path.suffix)
    if forms is None:
        raise click.UsageError(f"--out must end in one of {', '.join(FORMS)}.")
    form = form or next(iter(forms))
    if form not in forms:
        raise click.UsageError(f"--format {form} does not go with an --out that ends in {path.suffix}.")
    if not path.absolute().parent.is_dir():
        raise click.UsageError("The folder of --out does not exist.")
    return Output(path, form, forms[form])
