"""Which layers of a model give a feature map: those whose cells move with their place, tried in one run."""

import math
from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from vlx.pictures import spatial_dims

LONGEST = 300  # characters of an error message
BANDS = 4
RANKS = (3, 4)  # dimensions of a picture's map: tokens, or rows and columns
EXTRA = 5  # tokens around the cells of a layer that is offered

_running: ContextVar[object] = ContextVar("vlx_layers_run", default=None)
_lock = Lock()  # torch numbers its hooks without one


def layers(
    model: nn.Module, call: Callable[[Tensor], Any], example: Callable[[], Tensor], rank: int = 0
) -> dict[str, tuple[int, int]] | None:
    """Layers that are called once and hold a map whose cells are places, in the order they end; the cells (h, w) each.

    ``call`` runs the model on pictures, ``example`` makes one [1, C, H, W]. One run on 9 pictures; None when the model
    cannot be run on them. With a ``rank`` maps are those of so many dimensions, [B, K, n] or [B, K, t, h, w].
    """
    names = {module: name for name, module in model.named_modules() if name}
    run, found, calls = object(), dict[str, tuple[int, int]](), dict[str, int]()
    size, last = (0, 0), list[Any]([run, None])

    def hook(module: nn.Module, _arguments: Any, output: Any) -> None:
        if _running.get() is run:
            name = names[module]
            calls[name] = calls.get(name, 0) + 1
            found.pop(name, None)
            if output is not last[0]:  # a container gives what its last member gave
                leaves = [leaf for leaf in tree_leaves(output) if may_be_map(leaf, (rank,) if rank else RANKS)]
                shapes = (_unfolded(leaf) if rank else _placed(leaf, size) for leaf in leaves)
                last[:] = output, next(filter(None, shapes), None)
            if last[1] is not None:
                found[name] = last[1]

    token, handles = _running.set(run), []
    try:
        with _lock:
            handles += [module.register_forward_hook(hook, prepend=True) for module in names]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            pictures = example() if rank else spatial_dims.banded(example(), BANDS)
            size = (pictures.shape[2], pictures.shape[3])
            call(pictures)
    except Exception:  # the message that is being made is about something else
        return None
    finally:
        _running.reset(token)
        with _lock:
            for handle in handles:
                handle.remove()
    return {name: shape for name, shape in found.items() if calls[name] == 1}


def may_be_map(value: Any, ranks: tuple[int, ...] = RANKS) -> bool:
    """Whether it has a batch, units and places: so many dimensions, three or four of a picture's map."""
    return isinstance(value, Tensor) and value.ndim in ranks and value.is_floating_point()


def listed(text: str, names: list[str]) -> str:
    """A message with as many of the last names as it has room for."""
    shown = list[str]()
    for name in reversed(names):
        more = f"; {len(names) - len(shown) - 1} before them"
        if len(text) + len(", ".join([name, *shown])) + len(more) > LONGEST and shown:
            return text + ", ".join(shown) + f"; {len(names) - len(shown)} before them"
        shown.insert(0, name)
    return text + ", ".join(shown)


def _placed(made: Tensor, size: tuple[int, int]) -> tuple[int, int] | None:
    """The cells of a layer's output, made of `banded` pictures, where they are seen to be places."""
    batch = next((dim for dim, count in enumerate(made.shape) if count == 2 * BANDS + 1), None)
    if batch is None or made.numel() == 0:
        return None
    likely = spatial_dims.layouts(made.shape, batch, size, extra=EXTRA, longest=spatial_dims.LIKE)
    layout = spatial_dims.best(likely, spatial_dims.answers(made, batch, BANDS, entries=False), size)
    return None if layout is None else layout.shape


def _unfolded(made: Tensor) -> tuple[int, int] | None:
    """The cells of a map [B, K, n] or [B, K, t, h, w] as rows and columns."""
    return None if made.numel() == 0 else (math.prod(made.shape[2:-1]), made.shape[-1])


def blocks(model: nn.Module, example: Tensor) -> list[str]:
    """Those of `layers` that are members of a list of modules, and of one list only: a network's blocks or stages."""
    names = layers(model, model, lambda: example) or {}
    modules = dict(model.named_modules())

    def lists(name: str) -> int:
        parts = name.split(".")
        return sum(isinstance(modules[".".join(parts[:n])], nn.ModuleList) for n in range(1, len(parts)))

    return [name for name in names if lists(name) == 1 and isinstance(modules[name.rpartition(".")[0]], nn.ModuleList)]
