"""What a vision part hands to the text as plain tokens, and tokens in the very form in which the text takes them.

Models with M-RoPE give the tokens of a picture places by row and column (``get_rope_index``), and keep how far the
places of what follows are moved (``rope_deltas``) as state of the shared model: threads must not meet in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from threading import Lock
from typing import Any

import torch
from torch import Tensor

GENERATING = Lock()  # of models that keep places while they generate


@dataclass(frozen=True)
class Handed:
    """The form of ``get_image_features``'s output: its class, and whether each stream is a list of pictures.

    Streams: what the text reads at its first layer and, of models with DeepStack, at later ones. They lie one after the
    other along K, so that nothing goes round A.
    """

    kind: type[Any]
    listed: tuple[bool, ...]

    @classmethod
    def of(cls, seen: Any) -> "Handed":
        """The form of one output."""
        return cls(type(seen), tuple(not isinstance(stream, Tensor) for stream in _streams(seen)))

    def back(self, tokens: Tensor) -> Any:
        """Tokens [R, T, K] → the output that hands them to the text, each row for a picture of its own."""
        first, *deeper = (
            list(stream) if listed else stream.contiguous()
            for stream, listed in zip(tokens.chunk(len(self.listed), -1), self.listed, strict=True)
        )
        output = self.kind(pooler_output=first)
        if deeper:
            output.deepstack_features = [
                stream if isinstance(stream, list) else stream.flatten(0, 1) for stream in deeper
            ]
        return output


def tokens_of(seen: Any, pictures: int) -> Tensor:
    """The tokens of all streams that a vision part gave of B pictures, [B, T, K]."""
    streams = [_joined(stream) for stream in _streams(seen)]
    return torch.cat([stream.reshape(pictures, -1, stream.shape[-1]) for stream in streams], -1)


def counts_of(seen: Any) -> tuple[int, ...]:
    """How many tokens each picture or crop of an output has."""
    pooled = seen.pooler_output
    return tuple(one.shape[-2] for one in pooled)


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
    with GENERATING:
        yield


def _joined(stream: Tensor | Sequence[Tensor]) -> Tensor:
    if isinstance(stream, Tensor):
        return stream
    return torch.cat([one.reshape(-1, one.shape[-1]) for one in stream])


def _streams(seen: Any) -> list[Any]:
    return [seen.pooler_output, *(getattr(seen, "deepstack_features", None) or [])]
