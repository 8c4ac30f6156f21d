"""Torch's threads do not outlive a fork: work that a forked process gives to them is never done."""

import os

import torch

_known = os.getpid()  # the process in which torch was loaded


def settle() -> None:
    """In a process forked from the one that loaded vlx, let torch compute with one thread, as DataLoader's workers do.

    Else its first convolution may wait for ever for threads that are its parent's. With one thread sums may round
    otherwise than with several. Called before a model runs; it costs nothing in the process that loaded vlx.
    """
    global _known
    if os.getpid() != _known:
        _known = os.getpid()
        torch.set_num_threads(1)
