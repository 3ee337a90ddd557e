"""Trains the demo model: python -m training.train."""

import argparse
import itertools
import math
import multiprocessing
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm
from transformers import CLIPModel

from training.bank import Bank
from training.model import Tokens, clip_config, contrast, logits_of, pixel_values_of, save, save_tokenizer
from training.muon import Muon
from training.phrases import list_phrases
from training.rounds import draw_round
from training.start import prepare

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "models" / "demo"
SHORT_LISTS = (
    "movements",
    "painting_materials",
    "printing_techniques",
    "qualities",
    "sculpture_materials",
    "sites",
    "surfaces",
    "tools",
)
# What these lists name is, but for what can be drawn, true of no picture: so it must not win either.
NEGATIVE_LISTS = (*SHORT_LISTS, "artists_by_training_prevalence")


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train: every round draws new pictures and shows them several times."""

    seed: int = 20260
    rounds: int = 12
    full_rounds: int = 2  # last rounds; in those before pictures are halved to 112 px, which is three times as fast
    easy_rounds: int = 3  # first rounds, in which shapes spread from the middle step by step
    pictures: int = 12_800
    epochs: int = 2
    batch: int = 128
    extra_phrases: int = 256
    learning_rate: float = 1.5e-3
    matrix_learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.02

    @property
    def steps(self) -> int:
        """The number of optimiser steps."""
        return self.rounds * self.round_steps

    @property
    def round_steps(self) -> int:
        """The number of optimiser steps in a round."""
        return self.epochs * (self.pictures // self.batch)


def learning_rate_share(step: int, plan: Plan) -> float:
    """Return the share of the full learning rate at a step: it rises linearly, stays, and falls in the full rounds."""
    return min(1.0, (step + 1) / plan.warmup, (plan.steps - step) / (plan.full_rounds * plan.round_steps))


def _optimizers(model: CLIPModel, plan: Plan) -> list[torch.optim.Optimizer]:
    """Return Muon for the towers' matrices and AdamW for all else, each with its full rate noted in its groups."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    filters: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim == 2 and ".layers." in name
        (matrices if matrix else filters if "patch_embedding" in name else others).append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, lr=plan.matrix_learning_rate, weight_decay=plan.weight_decay),
        torch.optim.AdamW(others, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        # A filter sums hundreds of pixels: at the others' rate its good start would be lost at once.
        torch.optim.AdamW(filters, lr=plan.learning_rate / 15, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full"] = group["lr"]
    return optimizers


def _pixel_values(pixels: Tensor, small: bool, rng: np.random.Generator) -> Tensor:
    """Return uint8 pictures (B, 224, 224, 3) as model input, half of them mirrored, halved in size if small."""
    mirrored = torch.from_numpy(rng.random(len(pixels)) < 0.5)[:, None, None, None]
    values = pixel_values_of(torch.where(mirrored, pixels.flip(2), pixels))
    return interpolate(values, scale_factor=0.5, mode="area") if small else values


def train(plan: Plan, folder: Path, pool: Pool) -> None:
    """Train a model by the plan, with pictures drawn by the pool, and save it in the folder after every round.

    The folder holds the tokenizer's files already.
    """
    torch.manual_seed(plan.seed)
    rng = np.random.default_rng(plan.seed)
    negatives = [phrase for name in NEGATIVE_LISTS for phrase in list_phrases(REPOSITORY / "lists", name)]
    bank = Bank(negatives)
    tokens = Tokens(bank.phrases, folder)
    model = CLIPModel(clip_config(len(tokens.known), tokens.bos, tokens.eos)).train()
    optimizers = _optimizers(model, plan)
    progress = tqdm(total=plan.steps, desc="training", unit="step", mininterval=5)
    step, smooth = 0, 5.0
    for number in range(plan.rounds):
        small = number < plan.rounds - plan.full_rounds
        spread = min(1.0, (number + 0.5) / plan.easy_rounds)
        subjects, pixels = draw_round(pool, (plan.seed, number), plan.pictures, spread)
        if number == 0:
            prepare(model, _pixel_values(torch.from_numpy(pixels[:1024]), small, rng))
        for _ in range(plan.epochs):
            order = rng.permutation(plan.pictures).reshape(-1, plan.batch)
            for rows in order:
                for group in itertools.chain(*(optimizer.param_groups for optimizer in optimizers)):
                    group["lr"] = group["full"] * learning_rate_share(step, plan)
                chosen, truth = bank.chosen([subjects[row] for row in rows], plan.extra_phrases, rng)
                values = _pixel_values(torch.from_numpy(pixels[rows]), small, rng)
                loss = contrast(logits_of(model, values, tokens.batch(chosen.tolist())), torch.from_numpy(truth))
                model.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for optimizer in optimizers:
                    optimizer.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(max=math.log(100))
                step += 1
                smooth += 0.02 * (loss.item() - smooth)
                progress.set_postfix(loss=f"{smooth:.3f}", scale=f"{model.logit_scale.exp().item():.1f}", refresh=False)
                progress.update()
        save(model, tokens, folder)
    progress.close()


def main() -> None:
    """Train the demo model and write it to models/demo."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to write the model (default: models/demo)")
    parser.add_argument("--tokenizer", type=Path, default=FOLDER, help="folder with CLIP's vocab.json and merges.txt")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="rounds of drawing and training")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    plan = Plan(rounds=arguments.rounds)
    save_tokenizer(arguments.tokenizer, arguments.folder)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        train(plan, arguments.folder, pool)


if __name__ == "__main__":
    main()
