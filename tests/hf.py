"""Tiny models of transformers for tests, and what they say when they are run as transformers has them run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlx.protocol.targets import Target
from vlx.tasks.huggingface.loading import load, wrap

CAPTIONERS = ("blip-captioning", "vit-gpt2", "swin-bert", "git")
ASKED = ("blip-vqa", "blip-itm", "vilt")
FAMILIES = (*CAPTIONERS, *ASKED)
TOWERS = {
    "blip-captioning": "vision_model",
    "blip-vqa": "vision_model",
    "blip-itm": "vision_model",
    "vit-gpt2": "encoder",
    "swin-bert": "encoder",
    "git": "git.image_encoder",
}
PREFIX = {family: 0 if family == "swin-bert" else 1 for family in TOWERS}  # class tokens
QUESTION, SHORT = "what color is the greenish house?", "how many boats?"
CAPTION = "a greenish house on the water"


class Tiny:
    """Tasks of tiny models; every one is a copy, to be changed at will."""

    def __init__(self, folder: Callable[[str], Path]) -> None:
        self.parts = cache(lambda family: _parts(folder(family)))

    def model(self, family: str) -> Any:
        """The bare model of transformers."""
        return deepcopy(self.parts(family)[0])

    def task(self, family: str, dtype: torch.dtype = torch.float32) -> Any:
        """The task of a model of its own."""
        _, processor, tokenizer = self.parts(family)
        return wrap(self.model(family).to(dtype), (processor, tokenizer), name=family)


def _parts(folder: Path) -> tuple[Any, Any, Any]:
    task = cast(Any, load(folder))
    return task.model, task.processor, task.tokenizer


def negated(target: Target) -> Target:
    """The target whose score is the negated one."""
    return replace(target, terms=tuple(replace(term, weight=-term.weight) for term in target.terms))


def picture(seed: int = 1, width: int = 60, height: int = 40) -> Image.Image:
    """A picture of coloured squares."""
    squares = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST)


def options(family: str, text: str = QUESTION) -> dict[str, Any]:
    """What `vlx.explain` must be told about a model of this family."""
    return {"question": text} if family in ASKED else {}


def pixels(task: Any, *shown: Image.Image) -> Tensor:
    """Pictures as the task's own processor makes them, [B, 3, H, W], in the model's dtype."""
    made = task.processor(images=list(shown), return_tensors="pt")["pixel_values"]
    return cast(Tensor, made.to(next(task.model.parameters()).dtype))


def ids(*tokens: int) -> Tensor:
    return torch.tensor([tokens])


def asked(task: Any, question: str = QUESTION) -> dict[str, Tensor]:
    """A question as the tokenizer makes it."""
    found = task.tokenizer(question, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def start(family: str, model: Any) -> int:
    """The token before a caption or an answer."""
    if family.startswith("blip"):
        return int(model.config.text_config.bos_token_id)
    return int(model.config.bos_token_id if family == "git" else model.generation_config.decoder_start_token_id)


def end(family: str, model: Any) -> int:
    """The token after a caption or an answer."""
    if family.startswith("blip"):
        return int(model.config.text_config.sep_token_id)
    return int(model.config.eos_token_id if family == "git" else model.generation_config.eos_token_id)


def logits(task: Any, family: str, shown: Tensor, tokens: Sequence[int], question: str = QUESTION, **more: Any) -> Any:
    """Stock ``forward`` on pixels [1, 3, H, W]: logits [L + 1, V] of a text, or [labels] of an answer."""
    return output(task, family, shown, tokens, question, **more)[0]


def output(
    task: Any, family: str, shown: Tensor, tokens: Sequence[int], question: str = QUESTION, **more: Any
) -> tuple[Tensor, Any]:
    """The same with whatever else the model returned."""
    model = task.model
    if family in ("blip-itm", "vilt"):
        found = model(pixel_values=shown, **asked(task, question), **more)
        return (found.itm_score if family == "blip-itm" else found.logits)[0], found
    text = ids(start(family, model), *tokens)
    if family == "blip-vqa":
        kept: list[Any] = []
        with model.text_decoder.register_forward_hook(lambda module, args, out: kept.append(out)):
            model(pixel_values=shown, decoder_input_ids=text, **asked(task, question), **more)
        return kept[-1].logits[0], kept[-1]
    name = "decoder_input_ids" if family in ("vit-gpt2", "swin-bert") else "input_ids"
    found = model(pixel_values=shown, **{name: text}, **more)
    return found.logits[0, -text.shape[1] :], found


def generated(task: Any, family: str, shown: Tensor, prompt: Sequence[int] = (), **more: Any) -> tuple[int, ...]:
    """Stock ``generate``: the tokens of a caption, its prompt before it, or of an answer; END and padding left out."""
    model, more = task.model, {"do_sample": False, "max_new_tokens": 30, **more}
    if family == "blip-vqa":
        more |= {**asked(task), "max_new_tokens": 10}
    elif family == "blip-captioning":
        more |= {"input_ids": ids(0, *prompt, end(family, model))} if prompt else {}
    else:
        name = "input_ids" if family == "git" else "decoder_input_ids"
        more |= {name: ids(start(family, model), *prompt)} if prompt else {}
    found = model.generate(pixel_values=shown, **more)[0].tolist()[1:]
    last = end(family, model)
    return tuple(found[: found.index(last)] if last in found else found)


@contextmanager
def leaf(task: Any, family: str) -> Iterator[list[Tensor]]:
    """While inside, the tower's output (of ViLT the last block but one's) is cut off and kept as a leaf."""
    kept: list[Tensor] = []

    def cut(module: Any, args: Any, out: Any) -> Any:
        tokens = out if isinstance(out, Tensor) else out[0]
        kept.append(tokens.detach().requires_grad_())
        if isinstance(out, Tensor):
            return kept[-1]
        if isinstance(out, tuple):
            return (kept[-1], *out[1:])
        return type(out)(last_hidden_state=kept[-1])

    layers = task.model.config.num_hidden_layers if family == "vilt" else 0
    name = f"vilt.encoder.layer.{layers - 2}" if family == "vilt" else TOWERS[family]
    with task.model.get_submodule(name).register_forward_hook(cut, prepend=True):
        yield kept


@contextmanager
def placed(model: Any) -> Iterator[list[tuple[Tensor, tuple[int, int]]]]:
    """While inside, ViLT's own record of where its shuffled patches belong is kept; nothing of other models."""
    kept: list[tuple[Tensor, tuple[int, int]]] = []
    if not hasattr(model, "vilt"):
        yield kept
        return
    embeddings = model.vilt.embeddings
    original = embeddings.visual_embed

    def recorded(*args: Any, **more: Any) -> Any:
        result = original(*args, **more)
        kept.append(result[2])
        return result

    embeddings.visual_embed = recorded
    try:
        yield kept
    finally:
        del embeddings.visual_embed


@contextmanager
def louder(shape: tuple[int, int], queries: Sequence[int], key: int, by: float) -> Iterator[None]:
    """While inside, attention probabilities [B, heads, *shape] of some queries to one key are 1 + ``by`` times theirs.

    Eager attention hands its probabilities to dropout, which does nothing else in eval mode.
    """
    original = torch.nn.functional.dropout

    def changed(values: Tensor, *args: Any, **more: Any) -> Tensor:
        values = original(values, *args, **more)
        if values.ndim == 4 and tuple(values.shape[2:]) == shape:
            values = values.clone()
            values[:, :, list(queries), key] *= 1 + by
        return values

    functional: Any = torch.nn.functional
    functional.dropout = changed
    try:
        yield
    finally:
        functional.dropout = original


@contextmanager
def overheard(shape: tuple[int, int]) -> Iterator[list[Tensor]]:
    """While inside, all attention probabilities [B, heads, *shape] are kept, in the graph; see `louder`."""
    original, kept = torch.nn.functional.dropout, list[Tensor]()

    def heard(values: Tensor, *args: Any, **more: Any) -> Tensor:
        values = original(values, *args, **more)
        if values.ndim == 4 and tuple(values.shape[2:]) == shape:
            kept.append(values)
        return values

    functional: Any = torch.nn.functional
    functional.dropout = heard
    try:
        yield kept
    finally:
        functional.dropout = original


def rolled_out(layers: Sequence[Tensor], gradients: Sequence[Tensor], queries: Sequence[int]) -> Tensor:
    """Relevance of all tokens to some queries, by the whole matrix: layers and gradients [heads, T, T] → [T]."""
    relevance = torch.eye(layers[0].shape[-1], dtype=layers[0].dtype)
    for p, g in zip(layers, gradients, strict=True):
        relevance = relevance + (p * g).clamp(min=0).mean(0) @ relevance
    return relevance[list(queries)].mean(0)


def raster(tokens: Tensor, place: tuple[Tensor, tuple[int, int]]) -> Tensor:
    """ViLT's tokens [1, text + 1 + N, D] of shuffled patches → [D, h, w], one patch at a time."""
    index, (h, w) = place
    cells = tokens.new_zeros(h, w, tokens.shape[-1])
    for n, (row, column) in enumerate(index[0].tolist()):
        cells[row, column] = tokens[0, tokens.shape[1] - h * w + n]
    return cells.permute(2, 0, 1)


def grid(task: Any, family: str, tokens: Tensor, shown: Tensor) -> Tensor:
    """A tower's tokens [1, T, D] → [D, h, w], one cell at a time; cells are square."""
    count = tokens.shape[1] - PREFIX[family]
    side = round((shown.shape[-2] * shown.shape[-1] / count) ** 0.5)
    h, w = shown.shape[-2] // side, shown.shape[-1] // side
    cells = tokens.new_zeros(tokens.shape[-1], h, w)
    for n in range(count):
        cells[:, n // w, n % w] = tokens[0, PREFIX[family] + n]
    return cells
