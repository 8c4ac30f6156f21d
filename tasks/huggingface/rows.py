"""Attention row by row: the gradient of each word at its own row of attention, through no other row and no picture.

A text is run once without a graph, as its model is loaded. The rows whose next words are scored are then run again on
the cache of that, and in every layer they see the keys and values of other rows as constants: since nothing behind a
word reads it before it is said, that is each word's exact gradient, and one backward of all scores gives all of them.
Of the graph only T rows × S tokens of attention are kept, never S × S.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vlx.errors import ModelError
from vlx.protocol.nested import nested
from vlx.tasks.huggingface.borrowed import borrowed, configs_of

IMPLEMENTATION = "vlx_rows"  # the name of `_isolated` among transformers' kinds of attention
ATTENTION = {
    "attention",
    "full_attention",
    "sliding_attention",
    "chunked_attention",
}  # kinds of layers; others carry state


@dataclass(frozen=True, eq=False)
class Text:
    """``inputs``: all that ``forward`` takes of one text, ids [1, S] among them; rows are those from ``first`` on."""

    inputs: Mapping[str, Any]
    first: int

    @property
    def length(self) -> int:
        """S."""
        return int(self.inputs["input_ids"].shape[1])

    def before(self, stop: int) -> dict[str, Any]:
        """The inputs of its first tokens."""
        shape = self.inputs["input_ids"].shape
        return {
            name: value[:, :stop] if isinstance(value, Tensor) and value.shape[:2] == shape else value
            for name, value in self.inputs.items()
        }


@dataclass(frozen=True, eq=False)
class Rows:
    """What R texts' rows looked at, in one graph with their ``logits`` (of each text [T, V]), isolated row by row.

    ``layers``: attention probabilities [R, heads, T, S], first layer first, zero behind the end of a shorter text. They
    are leaves: gradients are taken at them, and nothing lies before them in the graph.
    """

    logits: tuple[Tensor, ...]
    layers: tuple[Tensor, ...]


def attended(model: nn.Module, texts: Sequence[Text]) -> Rows:
    """Run the rows of each text; nothing on the model is changed, and threads that share it cannot meet.

    Raises ModelError for a model whose attention is not one of transformers' exchangeable kinds.

    >>> rows = attended(model, [Text(inputs, first=len(question) - 1)])
    >>> rows.layers[0].shape  # [1, heads, T, S]
    """
    longest = max(text.length - text.first for text in texts)
    kept = _Kept(len(texts), longest, max(text.length for text in texts))
    logits = tuple(_logits(model, text, kept, number) for number, text in enumerate(texts))
    if not kept.layers:
        raise ModelError(
            f"{type(model).__name__} has attention of its own kind, which cannot be followed row by row; take "
            "method='hirescam' or 'occlusion'"
        )
    return Rows(logits, tuple(kept.layers))


def _logits(model: nn.Module, text: Text, kept: "_Kept", number: int) -> Tensor:
    """Logits [T, V] of the rows of a text, whose probabilities are kept under its number."""
    _register()
    mine: Any = borrowed(model)
    one_by_one = bool(set(getattr(mine.config.get_text_config(), "layer_types", None) or ()) - ATTENTION)
    cache = _cache(mine.config if one_by_one else None)
    named = "cache" if "cache" in signature(mine.forward).parameters else "past_key_values"  # its name before 5.24
    options = {named: cache, "use_cache": True}
    with torch.no_grad():
        mine(**text.before(text.first if one_by_one else text.length), **options, logits_to_keep=1)
    if not one_by_one:  # the rows were there, too: a prefix that is read both ways has seen its last token
        cache.crop(text.first - text.length)
    _keep_past_states(cache)
    caps = mine.config.get_text_config()._attn_implementation != "sdpa"  # which leaves caps of scores out, or refuses
    for config in configs_of(mine):
        config._attn_implementation = IMPLEMENTATION
    rows, logits = text.inputs["input_ids"][:, text.first :], []
    for row, ids in enumerate(rows.split(1 if one_by_one else rows.shape[1], 1)):
        with _keeping(_Run(kept, number, row, text.first + row + ids.shape[1], caps)):
            logits.append(mine(input_ids=ids, **options).logits[0])
        if one_by_one:
            _cut(cache)
    return torch.cat(logits)


def _cache(config: Any) -> Any:
    """Keys and values of all that was seen, also beyond a sliding window: the masks alone say what is looked at.

    With a config the cache holds the states of layers that are no attention, too.
    """
    from transformers import DynamicCache

    return DynamicCache() if config is None else DynamicCache(config=config)


def _keep_past_states(cache: Any) -> None:
    """From here on a state of linear attention is replaced, not written over: the graph of a row needs the one before.

    States of convolutions stay: what reads them has taken a copy.
    """

    def replaced(layer: Any, states: Tensor, state_idx: int = 0, **_: Any) -> Tensor:
        layer.recurrent_states[state_idx] = states
        return states

    for layer in cache.layers:
        if "recurrent_states" in vars(layer):
            layer.update_recurrent_state = partial(replaced, layer)


def _cut(cache: Any) -> None:
    """Let the next row take what this one left as constants, and write over it what is not its graph's."""
    for layer in cache.layers:
        grown = [name for name in ("keys", "values") if name in vars(layer)]  # by concatenation, and not written over
        left = {name: value for name, value in vars(layer).items() if name not in grown}
        vars(layer).update(nested(lambda state: state.detach().clone(), left))
        vars(layer).update(nested(Tensor.detach, {name: vars(layer)[name] for name in grown}))


# What is kept of a row


@dataclass(eq=False)
class _Kept:
    """The leaves of all layers, [texts, heads, rows, tokens], which grow while texts run."""

    texts: int
    rows: int
    tokens: int
    layers: list[Tensor] = field(default_factory=list)
    pieces: list[tuple[Tensor, ...]] = field(default_factory=list)  # of each layer its texts'

    def leaf(self, layer: int, like: Tensor) -> Tensor:
        """The layer's leaf; a new one where this layer is met for the first time."""
        if layer == len(self.layers):
            self.layers.append(like.new_zeros(self.texts, len(like), self.rows, self.tokens).requires_grad_())
            self.pieces.append(self.layers[-1].unbind(0))
        return self.layers[layer]


@dataclass(eq=False)
class _Run:
    """Where one call of the model leaves its probabilities: in the rows from ``row`` on of text ``text``."""

    kept: _Kept
    text: int
    row: int
    stop: int  # the tokens that its last row has seen, itself included
    caps: bool = True  # whether the model's own attention caps scores where it is told to
    layer: int = 0

    def through(self, probabilities: Tensor) -> Tensor:
        """Probabilities [heads, rows, keys] as they are, in a graph that leads to the layer's leaf.

        A layer that keeps fewer keys than there are tokens keeps the last ones.
        """
        _, rows, keys = probabilities.shape
        leaf = self.kept.leaf(self.layer, probabilities)
        place = slice(self.row, self.row + rows), slice(self.stop - keys, self.stop)
        piece = self.kept.pieces[self.layer][self.text][:, *place]
        leaf.data[self.text][:, *place] = probabilities.detach()
        self.layer += 1
        return probabilities + (piece - piece.detach())


_run: ContextVar[_Run] = ContextVar("_run")


@contextmanager
def _keeping(run: _Run) -> Iterator[None]:
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


def _register() -> None:
    """Make `_isolated` known to transformers; models that do not ask for it never meet it."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(IMPLEMENTATION, _isolated)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)


def _isolated(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Softmax attention of T rows, [1, heads, T, D] to [1, groups, S, D]; a row is led back to through itself alone.

    As transformers' own plain attention; scores of other rows' keys and values have no gradient there. What a row sees
    of itself is added with the value 0 and the gradient that it has.
    """
    for name in ("s_aux", "position_bias"):
        if others.get(name) is not None:
            raise ModelError(f"attention with {name} cannot be followed row by row; take method='hirescam'")
    run = _run.get()
    (heads, rows, size), (groups, keys, _) = query.shape[1:], key.shape[1:]
    scaling = size**-0.5 if scaling is None else scaling
    exact = torch.promote_types(query.dtype, torch.float32)

    def grouped(values: Tensor) -> Tensor:
        return values.reshape(groups, heads // groups * rows, -1)

    def itself(values: Tensor) -> Tensor:
        """Of the rows' own keys or values [groups, T, D], each beside the heads that read them: 0, with a gradient."""
        mine = values[0, :, keys - rows :]
        return (mine - mine.detach()).repeat_interleave(heads // groups, 0)

    scores = (grouped(query[0]) @ key[0].detach().mT).view(heads, rows, keys)
    diagonal = torch.diag_embed((query[0].detach() * itself(key)).sum(-1))
    scores = (scores + pad(diagonal, (keys - rows, 0))) * scaling
    scores = softcap * torch.tanh(scores / softcap) if softcap and run.caps else scores
    scores = scores if attention_mask is None else scores + attention_mask[0, :, :, :keys]
    probabilities = run.through(scores.softmax(-1, exact).to(query.dtype))
    read = (grouped(probabilities) @ value[0].detach()).view(heads, rows, -1)
    own = probabilities.detach()[:, :, keys - rows :].diagonal(dim1=1, dim2=2)
    return (read + own[..., None] * itself(value)).transpose(0, 1)[None], None
