"""The demo model's architecture, its training loss, and the files it is saved as."""

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel

from training.bank import FALSE, TRUE

BOS, EOS, VOCABULARY, POSITIONS = 49406, 49407, 49408, 77
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)


def clip_config(vocabulary: int = VOCABULARY, bos: int = BOS, eos: int = EOS) -> CLIPConfig:
    """Return the configuration of a small CLIP: a patch-16 image tower and a narrow text tower."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS,
        "projection_dim": 96,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": eos,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 224,
        "patch_size": 16,
        "projection_dim": 96,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=96)
    # Tells the service that this is the toy and no model to catalogue with.
    config.gaze_demo = True
    return config


class Tokens:
    """The token ids of some phrases, renumbered so that only tokens that occur have a row in the embedding.

    Training the 49,408 rows of the real vocabulary would waste most of the time on rows that never change.
    """

    def __init__(self, phrases: tuple[str, ...], tokenizer_folder: Path) -> None:
        """Tokenise the phrases with the CLIP tokenizer in the folder."""
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
        encoded = tokenizer(list(phrases), truncation=True, max_length=POSITIONS)["input_ids"]
        self.known: list[int] = sorted({token for ids in encoded for token in ids})
        row = {token: number for number, token in enumerate(self.known)}
        self.bos, self.eos = row[BOS], row[EOS]
        self._rows = [torch.tensor([row[token] for token in ids]) for ids in encoded]

    def batch(self, chosen: list[int]) -> Tensor:
        """Return the renumbered ids of the chosen phrases, padded to the longest: (len(chosen), length)."""
        rows = [self._rows[number] for number in chosen]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.eos)


def contrast(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the mean loss of pictures against phrases, each true phrase competing with all false ones.

    logits and truth are (pictures, phrases); phrases that are unclear for a picture take no part.
    """
    false = logits.masked_fill(truth != FALSE, -torch.inf).logsumexp(dim=1, keepdim=True)
    true = truth == TRUE
    losses = softplus(false - logits) * true
    return (losses.sum(dim=1) / true.sum(dim=1)).mean()


def logits_of(model: CLIPModel, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
    """Return scaled cosines of pictures (B, 3, H, W) and phrases (K, length): (B, K)."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = model.vision_model(pixel_values, interpolate_pos_encoding=True).pooler_output
    image_features = normalize(model.visual_projection(pooled.float()), dim=-1)
    text_features = normalize(model.text_projection(model.text_model(input_ids).pooler_output), dim=-1)
    return model.logit_scale.exp() * image_features @ text_features.T


def pixel_values_of(pixels: Tensor) -> Tensor:
    """Return uint8 pictures (B, H, W, 3) as normalised channels-first floats (B, 3, H, W)."""
    mean, std = torch.tensor(IMAGE_MEAN) * 255, torch.tensor(IMAGE_STD) * 255
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


def widened(model: CLIPModel, tokens: Tokens) -> CLIPModel:
    """Return the trained model with the real vocabulary; tokens that training never saw have a row of zeros."""
    whole = CLIPModel(clip_config())
    name = "text_model.embeddings.token_embedding.weight"
    state = {key: value.clone() for key, value in model.state_dict().items()}
    rows = torch.zeros(VOCABULARY, state[name].shape[1])
    rows[tokens.known] = state[name]
    state[name] = rows
    whole.load_state_dict(state)
    return whole


def save_tokenizer(source: Path, folder: Path) -> None:
    """Copy vocab.json and merges.txt from source unchanged, and write tokenizer_config.json beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        if source.resolve() != folder.resolve():
            shutil.copyfile(source / name, folder / name)
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "model_max_length": POSITIONS,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def save(model: CLIPModel, tokens: Tokens, folder: Path) -> None:
    """Write config.json, model.safetensors (float16) and preprocessor_config.json into the folder."""
    whole = widened(model, tokens)
    torch.nn.Module.to(whole, dtype=torch.float16)
    whole.save_pretrained(folder)
    # It is written for its owner's eyes only, unlike the other files.
    (folder / "model.safetensors").chmod(0o644)
    processor = CLIPImageProcessor(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, image_mean=IMAGE_MEAN, image_std=IMAGE_STD
    )
    processor.save_pretrained(folder)
