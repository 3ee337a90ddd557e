"""What `kubectl kustomize` makes of the overlays, as far as they use it: a machine that tests needs no kubectl.

Resources, components, a namespace, images, and patches that are merged. Whatever else stands in a kustomization.yaml
is an error.
"""

from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}
_MERGED_BY_NAME = ("containers", "env")
"""Lists whose members are merged one by one, as Kubernetes' own types say it; all others are replaced."""

_WITHOUT_NAMESPACE = ("Namespace",)


def built(folder: Path) -> list[Object]:
    """Return the objects that `kubectl apply -k` would send. Raises ValueError for what is not understood."""
    [kustomization] = read(folder / "kustomization.yaml")
    unknown = set(kustomization) - _KNOWN
    if unknown:
        raise ValueError(f"{folder.name}: {', '.join(sorted(unknown))}")
    objects: list[Object] = []
    for name in kustomization["resources"]:
        path = folder / name
        objects += built(path) if path.is_dir() else read(path)
    for name in kustomization.get("components", ()):
        [component] = read(folder / name / "kustomization.yaml")
        if set(component) - {"apiVersion", "kind", "patches"}:
            raise ValueError(f"{name}: {', '.join(sorted(component))}")
        _patch(objects, folder / name, component)
    _patch(objects, folder, kustomization)
    for each in objects:
        if "namespace" in kustomization and each["kind"] not in _WITHOUT_NAMESPACE:
            each["metadata"]["namespace"] = kustomization["namespace"]
        for container in containers(each):
            for image in kustomization.get("images", ()):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return objects


def _patch(objects: list[Object], folder: Path, kustomization: Object) -> None:
    for patch in kustomization.get("patches", ()):
        [change] = read(folder / patch["path"])
        [index] = [index for index, each in enumerate(objects) if identity(each) == identity(change)]
        objects[index] = _merged(objects[index], change)


def read(path: Path) -> list[Object]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def identity(each: Object) -> tuple[str, str, str]:
    """Return what tells an object from others."""
    return each["apiVersion"], each["kind"], each["metadata"]["name"]


def pod_of(each: Object) -> Object:
    """Return the pod that an object makes, or nothing."""
    pod: Object = each.get("spec", {}).get("template", {}).get("spec", {})
    return pod


def containers(each: Object) -> list[Object]:
    """Return the containers of the pod that an object makes, those that run first among them."""
    pod = pod_of(each)
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]


def _merged(old: Any, change: Any, key: str = "") -> Any:
    if isinstance(old, dict) and isinstance(change, dict):
        return {
            name: _merged(old[name], change[name], name) if name in old and name in change else change.get(name, value)
            for name, value in {**old, **change}.items()
        }
    if isinstance(old, list) and key in _MERGED_BY_NAME:
        changes = {each["name"]: each for each in change}
        if set(changes) - {each["name"] for each in old}:
            raise ValueError(f"{key} has no {', '.join(changes)}")
        kept = [each for each in old if changes.get(each["name"], {}).get("$patch") != "delete"]
        return [_merged(each, changes.get(each["name"], {})) for each in kept]
    return change
