"""What logits under one softmax say: scores of one kind, read in double where single would lose them."""

import torch
from torch import Tensor


def softmax_read(logits: Tensor, kind: str, contrast: bool = False) -> Tensor:
    """Logits [P, V] under one softmax as scores of one `vlx.task.TargetKind`; ``contrast`` makes no difference."""
    if kind == "logprob":
        return _logprobs(logits)
    if kind == "prob":
        return logits.softmax(-1)
    return logits


def _logprobs(logits: Tensor) -> Tensor:
    """log p; with a graph in double: in single its gradient, 1 − p, is lost where p is all but 1. MPS knows no double.

    Without a graph Σ exp is kept as 1 + what comes beside the likeliest, which single does not lose either.
    """
    if logits.is_mps or logits.dtype == torch.float64:
        return logits.log_softmax(-1)
    if logits.requires_grad or logits.dtype != torch.float32:
        return logits.double().log_softmax(-1).to(logits.dtype)
    highest, place = logits.max(-1, keepdim=True)
    below = logits - highest
    beside = below.exp().scatter_(-1, place, 0).sum(-1, keepdim=True)
    return below.sub_(beside.log1p_())
