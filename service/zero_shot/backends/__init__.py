"""What runs a model: torch, OpenVINO, and the conversion of one to the other with its proof."""
