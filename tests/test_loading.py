"""A classifier that is built in the background: not ready with its progress, then ready, or failed and told."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import CorruptModel, NotReady
from service.zero_shot.classifier import RETRY_SECONDS, LoadingClassifier, Report, ZeroShotClassifier
from service.zero_shot.text_features import TextFeatures
from tests.support.hash_encoder import HashEncoder

CLASSIFIER = ZeroShotClassifier(HashEncoder(), {})


def not_ready(loading: LoadingClassifier) -> NotReady:
    with pytest.raises(NotReady) as raised:
        loading.require()
    assert raised.value.retry_after == RETRY_SECONDS
    return raised.value


def test_before_the_start_it_is_not_ready() -> None:
    loading = LoadingClassifier(lambda _report: CLASSIFIER)
    assert not_ready(loading).progress == {"stage": "starting", "done": 0, "total": 1}


def test_while_it_is_built_it_says_how_far_it_is() -> None:
    reported, go_on = threading.Event(), threading.Event()

    def build(report: Report) -> ZeroShotClassifier:
        report("reading the model", 0, 1)
        report("encoding the lists", 300, 7165)
        reported.set()
        assert go_on.wait(10)
        return CLASSIFIER

    loading = LoadingClassifier(build).start()
    try:
        assert reported.wait(10)
        error = not_ready(loading)
        assert error.progress == {"stage": "encoding the lists", "done": 300, "total": 7165}
        assert "(encoding the lists)" in error.detail
    finally:
        go_on.set()
    assert loading.wait().require() is CLASSIFIER


def test_it_is_ready_for_others_when_on_ready_is_called() -> None:
    heard: list[ZeroShotClassifier] = []

    def on_ready(classifier: ZeroShotClassifier) -> None:
        heard.append(classifier)
        heard.append(loading.require())

    loading = LoadingClassifier(lambda _report: CLASSIFIER, on_ready=on_ready)
    assert loading.classifier is None
    assert loading.start().wait().require() is CLASSIFIER
    assert heard == [CLASSIFIER, CLASSIFIER]


@pytest.mark.parametrize("error", [CorruptModel("cut short."), RuntimeError("CUDA"), MemoryError()])
def test_a_failure_is_told_and_it_stays_not_ready(error: Exception) -> None:
    failures: list[Exception] = []
    ready: list[ZeroShotClassifier] = []

    def build(report: Report) -> ZeroShotClassifier:
        report("reading the model", 0, 1)
        raise error

    loading = LoadingClassifier(build, on_ready=ready.append, on_failure=failures.append).start().wait()
    assert failures == [error]
    assert ready == []
    assert not_ready(loading).progress == {"stage": "failed", "done": 0, "total": 1}
    assert "(failed)" in not_ready(loading).detail


def test_a_failure_of_on_ready_is_told_too() -> None:
    failures: list[Exception] = []
    error = OSError("the log is gone")

    def on_ready(_classifier: ZeroShotClassifier) -> None:
        raise error

    loading = LoadingClassifier(lambda _report: CLASSIFIER, on_ready, failures.append).start().wait()
    assert failures == [error]
    assert not_ready(loading).progress == {"stage": "failed", "done": 0, "total": 1}


def test_many_threads_may_ask_at_once() -> None:
    go_on = threading.Event()

    def build(_report: Report) -> ZeroShotClassifier:
        assert go_on.wait(10)
        return CLASSIFIER

    loading = LoadingClassifier(build).start()
    answered: list[NDArray[np.float32] | TextFeatures] = []

    def ask() -> None:
        loading.wait()
        answered.append(loading.require().encode_image(Image.new("RGB", (2, 2))))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert answered == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(answered) == 20
