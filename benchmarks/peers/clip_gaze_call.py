"""Ask clip-gaze 0.3.0 for probabilities, in its own environment, and say how long each call took.

Reads a JSON line {"image": path, "phrases": [...]} at a time and answers each with a JSON line {"seconds": s, "best":
phrase}. What is timed is opening the file and clip-gaze's own call, which decodes the picture and encodes every phrase
anew.
"""

import json
import sys
import time

import clip_gaze  # type: ignore[import-untyped]  # it has no types
from PIL import Image

for line in sys.stdin:
    question = json.loads(line)
    started = time.perf_counter()
    with Image.open(question["image"]) as image:
        ranked = clip_gaze.probabilities(image, question["phrases"], device="cpu")
    seconds = time.perf_counter() - started
    best, _ = max(ranked, key=lambda pair: float(pair[1]))
    print(json.dumps({"seconds": seconds, "best": best}), flush=True)
