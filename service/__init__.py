"""Gaze: of these phrases, which describe this picture best, in CLIP's eyes?"""

import os

# numpy reads this when it is imported. Its threads would spin after each product and take the encoder's cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
