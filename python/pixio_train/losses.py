"""What heads are trained to make small."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .truth import MIN_DEPTH, UNLABELLED


def silog(predicted: Tensor, truth: Tensor) -> Tensor:
    """sqrt(mean(d^2) - mean(d)^2 / 2), d = log truth - log predicted, over the known pixels (metres, else
    0)."""
    known = truth > 0
    if not known.any():
        return predicted.sum() * 0
    d = torch.log(truth[known]) - torch.log(predicted[known].clamp(min=MIN_DEPTH))
    # The square root has no slope at 0.
    return ((d**2).mean() - 0.5 * d.mean() ** 2).clamp(min=1e-12).sqrt()


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Of scores [B, n, h, w] and classes [B, h, w], over the pixels that are labelled."""
    if not (labels != UNLABELLED).any():
        return scores.sum() * 0
    return F.cross_entropy(scores, labels, ignore_index=UNLABELLED)
