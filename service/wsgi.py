"""The root of the running service: its parts are built and joined here.

gunicorn imports this module in each worker, after the fork; the model is loaded in a thread, so that the worker answers
from its first second. The model's files must lie on this machine already: `gaze serve` sees to that.
"""

import gc
import os
from typing import NoReturn

import structlog

from service.api.metrics import describe_model
from service.app import create_app
from service.composition import load_classifier, served_lists
from service.errors import StartError
from service.limits.threads import lower_thread_priority
from service.logs import configure_logs
from service.server.handover import handover
from service.server.process_state import access, admission, shutting_down
from service.settings import read_settings
from service.zero_shot import model_files
from service.zero_shot.classifier import LoadingClassifier, Report, Watchdog, ZeroShotClassifier

log = structlog.get_logger()

BOOT_ERROR = 3
"""The exit code at which gunicorn's master gives up, instead of starting the worker again and again.

Not where other workers answer, as after a SIGHUP: then this one alone ends.
"""


def _build(report: Report) -> ZeroShotClassifier:
    """Return a classifier that has answered once. Raises StartError."""
    lower_thread_priority()  # with what the model computes in
    report("reading the model", 0, 1)
    files = model_files.locate(settings.model, settings.revision)
    classifier = load_classifier(
        settings,
        files,
        phrase_lists,
        lambda done, total: report("encoding the lists", done, total),
        lambda: report("waiting for another process to convert the model or to encode the lists", 0, 1),
        checked=True,  # by `gaze serve`
    )
    # Before /readyz says 200: who waits for that and then asks for the metrics finds the model in them.
    describe_model(classifier.model)
    # What is loaded stays, and is looked through no more: that took 50 ms each time, in which nobody was answered.
    gc.collect()
    gc.freeze()
    return classifier


def _ready(classifier: ZeroShotClassifier) -> None:
    handover.be_ready()
    model = classifier.model
    log.info(
        "ready",
        model=model.id,
        revision=model.revision,
        backend=model.backend,
        precision=model.precision,
        device=model.device,
    )


def _failed(error: Exception) -> NoReturn:
    if isinstance(error, StartError):
        log.error("start failed", reason=str(error))
    else:
        log.error("start failed", exc_info=error)
    handover.fail()
    os._exit(os.EX_CONFIG if handover.ready else BOOT_ERROR)  # sys.exit would end this thread alone


configure_logs()
settings = read_settings()
try:
    phrase_lists = served_lists(settings)
except StartError as broken:  # since `gaze serve`, or the master, has read them
    _failed(broken)
loading = LoadingClassifier(_build, on_ready=_ready, on_failure=_failed).start()
# A pass that hangs cannot be ended, but its process can; gunicorn's master starts another.
Watchdog(loading, end=lambda: os._exit(os.EX_SOFTWARE)).start()
app = create_app(settings, phrase_lists, loading, shutting_down, admission, access=access())
