"""OpenVINO without its telemetry: everything of ours that needs OpenVINO takes it from here."""

import sys

# Else importing it tells Google Analytics so, from a process of its own, and leaves a folder in the user's home.
# OpenVINO has a stand-in that does nothing, for where this package is not installed; None makes it seem not to be.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

__all__ = ["openvino"]
