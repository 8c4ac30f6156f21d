"""Places of tokens where a model would keep them between calls: threads that share the model must not meet in them.

Models with M-RoPE give the tokens of a picture places by row and column (``get_rope_index``), and keep how far the
places of what follows are moved (``rope_deltas``) as state of the shared model.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from threading import Lock
from typing import Any

_ONE = Lock()


def explicit_positions(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of one run of the text with the places of their tokens said, where the model would keep them.

    >>> explicit_positions(qwen, inputs)["position_ids"].shape  # time, row and column of each token
    torch.Size([3, 1, 44])
    """
    index = getattr(model.base_model, "get_rope_index", None)
    if index is None:
        return dict(inputs)
    taken = {name: inputs[name] for name in signature(index).parameters if name in inputs}
    return {**inputs, "position_ids": index(**taken)[0]}


@contextmanager
def generating(model: Any) -> Iterator[None]:
    """While a model generates that keeps the places of what follows; other models do not wait."""
    if not hasattr(model.base_model, "rope_deltas"):
        yield
        return
    with _ONE:
        yield
