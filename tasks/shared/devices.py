"""Where a model runs and in which numbers: devices and dtypes by name, and moving what a task is made of."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

from vlx.errors import InputError, ModelError
from vlx.protocol.task import Task

DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}


def device_of(given: str | torch.device | None) -> torch.device:
    """The device of that name, by default the CPU. Raises InputError where this machine has none."""
    try:
        found = torch.device("cpu" if given is None else given)
    except (RuntimeError, TypeError):
        raise InputError(f'device={given!r} is no device of torch; write "cpu", "cuda", "cuda:1" or "mps"') from None
    if found.type == "cpu":
        return found
    counts = {"cuda": torch.cuda.device_count, "mps": torch.mps.device_count, "xpu": torch.xpu.device_count}
    count = counts.get(found.type, int)()
    if (found.index or 0) >= count:
        raise InputError(
            f'device="{found}": torch finds {count} {found.type} devices on this machine; use "cpu", or install a '
            "torch that is built for your hardware"
        )
    return found


def dtype_of(given: str | torch.dtype | None) -> torch.dtype:
    """The dtype of that name, by default float32. Raises InputError for what no model runs in."""
    if given is None:
        return torch.float32
    found = DTYPES.get(given.removeprefix("torch.")) if isinstance(given, str) else given
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype={given!r} is not one that a model runs in; known are {', '.join(DTYPES)}")
    return found


class Home(NamedTuple):
    """Where networks take their inputs: on which device, None where that is seen to when they are run, and in which
    numbers.
    """

    device: torch.device | None
    dtype: torch.dtype


def home_of(networks: Iterable[nn.Module]) -> Home | None:
    """By the first weights in numbers that are computed with: quantised ones are none, and stay as they are.

    None for networks without such weights. Weights that are kept off their device (accelerate) are brought to it, and
    inputs with them, when they are needed.
    """
    for network in networks:
        for weights in network.parameters():
            if weights.dtype in DTYPES.values():
                return Home(None if weights.is_meta else weights.device, weights.dtype)
    return None


def moved(model: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> nn.Module:
    """The network on that device, in those numbers. Raises ModelError where the device has no room."""
    try:
        return model.to(device, dtype)
    except torch.cuda.OutOfMemoryError:
        raise ModelError(f'{device} has no room for this model; pass dtype="bfloat16", or device="cpu"') from None


def placed(task: Task, options: dict[str, Any]) -> Task:
    """The task, its networks moved to the options' ``device`` and ``dtype`` where they are given.

    Raises InputError as `device_of` and `dtype_of` do.
    """
    device, dtype = options.get("device"), options.get("dtype")
    if device is not None or dtype is not None:
        place, kind = device_of(device), None if dtype is None else dtype_of(dtype)
        for network in [part for part in vars(task).values() if isinstance(part, nn.Module)]:
            moved(network, place, kind)
    return task
