"""Images as they are asked for -> the pictures that they stand for: a IIIF manifest stands for all of its canvases."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from service.api import metrics
from service.api.claim import Claim
from service.api.pictures import StageTimes
from service.api.query import ImageSource
from service.api.schemas.requests import MAX_IMAGES
from service.errors import FieldError, GazeError, ImageFetchFailed, InvalidRequest
from service.iiif.presentation import Broken
from service.iiif.reader import IiifReader
from service.images.fetch.fetcher import FETCH_SECONDS
from service.limits.admission import Admission

Wanted = tuple[ImageSource, GazeError | None]
"""A picture, and why there is none, where there is none."""


def pictures_of(
    sources: Sequence[ImageSource], iiif: IiifReader, admission: Admission, claim: Claim, times: StageTimes
) -> list[Wanted]:
    """Return the pictures of all sources, in their order. Raises InvalidRequest where they are too many."""
    wanted: list[Wanted] = []
    for source in sources:
        if source.source != "iiif":
            wanted.append((source, None))
            continue
        try:
            claim.require()
            with times.of("fetch"), admission.fetching():
                deadline = min(claim.deadline, time.monotonic() + FETCH_SECONDS)
                found = list(_led_to(source, iiif, deadline, MAX_IMAGES + 1 - len(wanted)))
            wanted.extend(found or [(source, ImageFetchFailed("The IIIF document has no pictures."))])
        except GazeError as error:
            metrics.IMAGES.labels("iiif", error.code).inc()
            wanted.append((source, error.with_traceback(None)))
        if len(wanted) > MAX_IMAGES:
            too_many = f"A request may lead to {MAX_IMAGES} pictures, and this has more. 'gaze bulk' takes any number."
            raise InvalidRequest(errors=(FieldError(source.pointer, too_many),))
    return wanted


def _led_to(source: ImageSource, iiif: IiifReader, deadline: float, most: int) -> Iterator[Wanted]:
    for found in iiif.pictures(str(source.content), deadline, most):
        if isinstance(found, Broken):
            metrics.IMAGES.labels("iiif", found.error.code).inc()
            yield replace(source, name=found.id), found.error
        else:
            yield replace(source, name=found.label, canvas=found), None
