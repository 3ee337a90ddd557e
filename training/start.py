"""Weights to start from: an image tower that sees patches and positions clearly from the first step."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import unfold
from transformers import CLIPModel


def whitening(pixel_values: Tensor, patch: int, width: int) -> Tensor:
    """Return filters (width, 3, patch, patch) whose responses to the pictures' patches are uncorrelated and alike.

    pixel_values is (B, 3, H, W). The filters are the patches' strongest principal components.
    """
    filters: Tensor
    patches: Tensor = unfold(pixel_values, patch, stride=patch).transpose(1, 2).reshape(-1, 3 * patch * patch)
    patches = patches - patches.mean(dim=0)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
    # Weak components are mostly noise: beyond the width / 2 strongest they are not raised to full strength.
    filters = vectors / (values + values[width // 2]).sqrt()
    return filters.T.reshape(width, 3, patch, patch)


def position_waves(side: int, width: int) -> Tensor:
    """Return sines and cosines of x and y at falling wavelengths for a square of positions: (side * side, width)."""
    frequencies = 2.0 ** torch.linspace(0, np.log2(side), width // 4) * np.pi / side / 2
    angles = torch.arange(side)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    down = waves[:, None].expand(side, side, -1)
    across = waves[None].expand(side, side, -1)
    return torch.cat([down, across], dim=2).reshape(side * side, width)


@torch.no_grad()
def prepare(model: CLIPModel, pixel_values: Tensor) -> None:
    """Set the image tower's patch filters, position embeddings and attention to a good start.

    transformers' own start hides positions behind random patch responses, and a small tower needs long to find
    them. Here both are equally loud, and every patch first attends to patches near and like itself.
    """
    embeddings = model.vision_model.embeddings
    config = model.vision_model.config
    filters = whitening(pixel_values, config.patch_size, config.hidden_size)
    embeddings.patch_embedding.weight.copy_(filters)
    waves = position_waves(config.image_size // config.patch_size, config.hidden_size)
    embeddings.position_embedding.weight[1:] = waves
    for layer in model.vision_model.encoder.layers:
        attention = layer.self_attn
        torch.nn.init.normal_(attention.q_proj.weight, std=config.hidden_size**-0.5)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
