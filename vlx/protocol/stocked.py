"""Tasks whose model can be called as its makers call it, beside the adapter: a power for the self-test."""

from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from vlx.protocol.outputs import Outputs
from vlx.protocol.targets import Query


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says by itself: the likeliest ``tokens`` of T steps and the ``logprobs`` [≥ T, V] at each.

    A caption's END is left out, an answer's is not. Of a model that gives numbers ``logprobs`` are those. ``outputs``
    [≥ T, V] are what the model gave, where log-probabilities are the log-softmax of it, else None.
    """

    tokens: tuple[int, ...]
    logprobs: Tensor
    outputs: Tensor | None = None

    @classmethod
    def of(cls, outputs: Tensor, tokens: tuple[int, ...] | None = None) -> "Said":
        """From logits [T, V]; without ``tokens`` the likeliest of each step."""
        chosen = tuple(outputs.argmax(-1).tolist()) if tokens is None else tokens
        return cls(chosen, outputs.double().log_softmax(-1), outputs)

    @classmethod
    def read(cls, outputs: Outputs, output: Any) -> "Said":
        """From what a model of a list of answers gave for one picture; ``outputs`` says what it means."""
        columns = outputs.columns(output, 1)
        table = outputs.table(columns)
        raw = columns if outputs.meaning == "softmax" else None
        return cls((int(table[0].argmax()),), outputs.read(table, "logprob").double(), raw)


class Stocked(Protocol):
    """Optional: a task whose model can be called as its makers call it.

    >>> def stock(self, image, query):
    ...     return Said.of(self.model(self.processor(images=image, text=query.question)).logits)  # [1, answers]
    """

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What the untouched model says of a picture, by greedy search; where it is asked, to the query's question."""
        ...
