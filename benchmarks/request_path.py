"""How many files one request passes, and how often it goes from one to another: what a reader has to follow.

Asks the app in this process, on the demo model, to rank one list for one JPEG, and watches which file of service/ each
Python function that is called stands in. `python -m benchmarks.request_path`
"""

import io
import sys
import threading
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from PIL import Image

import service
from service.app import create_app
from service.composition import load_classifier
from service.settings import Settings
from service.zero_shot import model_files
from service.zero_shot.classifier import LoadingClassifier
from service.zero_shot.phrase_lists import built_in_folder, read_lists

_SERVICE = Path(service.__file__).parent


def files_of_calls() -> list[str]:
    """Return the file of each call, in order, that one POST /v1/gaze makes in the thread that answers it."""
    settings = Settings(model="demo", url_fetch="off")
    lists = read_lists(built_in_folder())
    classifier = load_classifier(settings, model_files.locate("demo", None), lists)
    ready = LoadingClassifier(lambda _report: classifier).start().wait()
    client = create_app(settings, lists, ready, threading.Event()).test_client()
    jpeg = io.BytesIO()
    Image.new("RGB", (640, 480), "red").save(jpeg, "JPEG")

    def post() -> None:
        form = {"image": (io.BytesIO(jpeg.getvalue()), "red.jpg"), "lists": "movements"}
        assert client.post("/v1/gaze", data=form).status_code == 200  # noqa: S101

    files: list[str] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(_SERVICE):
            files.append(str(file.relative_to(_SERVICE)))

    post()  # what happens once a process
    sys.setprofile(watch)
    post()
    sys.setprofile(None)
    return files


if __name__ == "__main__":
    passed = files_of_calls()
    print(*(file for file, _ in groupby(passed)), sep="\n")
    print(f"{len(set(passed))} files, {sum(a != b for a, b in pairwise(passed))} changes of file")
