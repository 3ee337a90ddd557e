"""Ask transformers' zero-shot-image-classification pipeline, in its own environment, and say how long each call took.

    python pipeline_call.py MODEL_FOLDER

Reads a JSON line {"image": path, "phrases": [...]} at a time and answers each with a JSON line {"seconds": s, "best":
phrase}. The pipeline is made once; what is timed is one call, which opens and decodes the file and encodes every phrase
anew.
"""

import json
import sys
import time
from typing import Any

import transformers

pipeline: Any = transformers.pipeline("zero-shot-image-classification", model=sys.argv[1], device="cpu")
for line in sys.stdin:
    question = json.loads(line)
    started = time.perf_counter()
    # The phrases are whole: "{}" is the template that adds nothing.
    ranked = pipeline(question["image"], candidate_labels=question["phrases"], hypothesis_template="{}")
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "best": ranked[0]["label"]}), flush=True)
