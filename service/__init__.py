"""Gaze: of these phrases, which describe this picture best, in CLIP's eyes?"""

__version__ = "0.1.0"
