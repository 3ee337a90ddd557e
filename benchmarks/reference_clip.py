"""A CLIP of full size with random weights: it knows nothing, and costs and computes exactly what the real one does.

    python -m benchmarks.reference_clip FOLDER

makes FOLDER a directory that GAZE_MODEL can name.
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import torch
import transformers

from service.zero_shot.model_files import demo_folder

LOGIT_SCALE = 100.0
"""What CLIP's training ends at: it is clipped there (Radford et al. 2021, section 2.5)."""

_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


def make_reference_clip(folder: Path, seed: int = 0) -> Path:
    """Write a ViT-B/32 CLIP (151 million parameters, 224 px) in transformers' format, and return its folder.

    The tokenizer is the demo model's, which is the real one. The same seed gives the same weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _TOKENIZER_FILES:
        shutil.copy(demo_folder() / name, folder / name)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2))
    torch.manual_seed(seed)
    special = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=special))
    with torch.no_grad():
        model.logit_scale.fill_(math.log(LOGIT_SCALE))
    model.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(make_reference_clip(parser.parse_args().folder))
