"""What runs a model: torch, OpenVINO, the export of one to the other, and the checks of a model."""
