"""Muon: momentum whose every step turns all directions of a weight matrix equally far."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices (n, rows, columns) with about the same singular vectors and singular values all near 1.

    Five Newton-Schulz iterations with Keller Jordan's published coefficients.
    """
    x: Tensor
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for weight matrices (rows, columns); those of one shape are worked on together, for speed."""

    def __init__(
        self, matrices: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        """Take the matrices; lr is on AdamW's scale, since each step has the root mean square 0.2 lr."""
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Move every matrix by one step."""
        for group in self.param_groups:
            alike: defaultdict[torch.Size, list[torch.nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                alike[matrix.shape].append(matrix)
            for shape, matrices in alike.items():
                ahead = []
                for matrix in matrices:
                    gradient = matrix.grad if matrix.grad is not None else torch.zeros_like(matrix)
                    speed = self.state[matrix].setdefault("speed", torch.zeros_like(matrix))
                    speed.lerp_(gradient, 1 - group["momentum"])
                    ahead.append(gradient.lerp(speed, group["momentum"]))
                steps = orthogonal(torch.stack(ahead)) * (0.2 * max(shape) ** 0.5)
                for matrix, step in zip(matrices, steps, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=group["lr"])
