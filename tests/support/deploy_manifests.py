"""The manifests of deploy/ as objects."""

import threading
from typing import NoReturn

from service.app import create_app
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier, Report
from service.zero_shot.phrase_lists import built_in_folder, read_lists
from tests.conftest import REPOSITORY
from tests.support.deploy_kustomize import Object, built, pod_of

DEPLOY = REPOSITORY / "deploy"

OVERLAYS = ("cpu", "cuda")

BUILT = {name: built(DEPLOY / "kubernetes" / "overlays" / name) for name in OVERLAYS}


def one(overlay: str, kind: str, name: str = "gaze") -> Object:
    """Return the object of a kind and a name."""
    [found] = [each for each in BUILT[overlay] if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def server(overlay: str) -> Object:
    """Return the container that serves."""
    [found] = pod_of(one(overlay, "Deployment"))["containers"]
    container: Object = found
    return container


def routes() -> set[str]:
    """Return the paths that the app answers, as Flask writes them."""
    never_loaded = LoadingClassifier(_no_model)
    app = create_app(Settings(model="demo"), read_lists(built_in_folder()), never_loaded, threading.Event())
    return {rule.rule for rule in app.url_map.iter_rules()}


def _no_model(_report: Report) -> NoReturn:
    raise AssertionError("nobody asks for it")
