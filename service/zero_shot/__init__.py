"""CLIP: images and phrases -> features -> ranked predictions; never sees HTTP."""
