"""Ask clip-gaze 0.3.0 itself: probabilities of phrases for pictures, as JSON lists on standard output.

Run in a process of its own, because clip-gaze loads `openai/clip-vit-base-patch32` by that name from the hub's cache
that HF_HOME names, and keeps it. Reads from standard input a JSON list of [picture's path, phrases].
"""

import json
import sys

import clip_gaze  # type: ignore[import-untyped]  # it has no types
from PIL import Image

answers = []
for path, phrases in json.load(sys.stdin):
    ranked = clip_gaze.probabilities(Image.open(path), phrases, device="cpu")
    answers.append([probability for _, probability in ranked])
json.dump(answers, sys.stdout)
