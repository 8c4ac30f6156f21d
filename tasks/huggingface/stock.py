"""Models of transformers called as their makers call them, for the self-test: nothing of the adapters is in it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.protocol.stocked import Said
from vlx.tasks.huggingface.greedy import plainly
from vlx.tasks.huggingface.refusals import quiet
from vlx.tasks.shared.devices import Home, home_of

Networks = Sequence[nn.Module]


def given(
    model: Any, vision: Networks, processor: Any, tokenizer: Any, image: Image.Image, text: str | None
) -> dict[str, Tensor]:
    """All that the processor and the tokenizer make of a picture and a text and that the model's ``forward`` takes."""
    inputs = dict(processor(images=image, return_tensors="pt"))
    inputs |= {} if text is None else dict(tokenizer(text, return_tensors="pt"))
    return taken(model, vision, inputs)


def asked(processor: Any, image: Image.Image, question: str, answer: str | None = None) -> dict[str, Tensor]:
    """All that a chat model's processor makes of a picture and a question, by its own chat template.

    ``answer``: what stands behind the question, where the model is made to go on.
    """
    content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if answer is not None:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    end = "add_generation_prompt" if answer is None else "continue_final_message"
    return dict(processor.apply_chat_template(turns, **options, **{end: True}))


def prefixed(processor: Any, image: Image.Image, question: str, answer: str | None = None) -> dict[str, Tensor]:
    """As `asked`, of a model that goes on behind a prefix and has no chat template."""
    made = dict(processor(text=f"{processor.image_token}{question}", images=image, return_tensors="pt"))
    made.pop("labels", None)
    if answer is None:
        return made
    behind = torch.tensor([processor.tokenizer(answer, add_special_tokens=False)["input_ids"]])
    return {"input_ids": torch.cat([made["input_ids"], behind], 1)}


def worded(processor: Any, image: Image.Image, text: str, answer: str | None = None) -> dict[str, Tensor]:
    """As `asked`, of a processor without a chat template that takes the whole ``text`` and marks the picture itself."""
    words = [part for part in (text, answer) if part]
    return dict(processor(images=image, text=" ".join(words), return_tensors="pt"))


def taken(model: Any, vision: Networks, made: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those inputs that the model's ``forward`` takes, where its ``vision`` part is."""
    accepted, home = signature(model.forward).parameters, home_of(vision)
    return placed({name: value for name, value in made.items() if name in accepted}, home)


def placed(made: dict[str, Tensor], home: Home | None, device: torch.device | None = None) -> dict[str, Tensor]:
    """Inputs at ``home`` or on another ``device``, those that are no whole numbers in its precision."""
    if home is None:
        return made
    place = device or home.device
    return {
        name: value.to(place or value.device, home.dtype if value.is_floating_point() else value.dtype)
        for name, value in made.items()
    }


def generated(model: Any, inputs: dict[str, Tensor], longest: int) -> tuple[tuple[int, ...], Tensor]:
    """Greedy ``generate``: at most ``longest`` tokens, END included, and the logits [T, V] of each."""
    with _quietly():
        output = model.generate(**inputs, **plainly(longest))
    logits = torch.cat(output.logits)
    return tuple(output.sequences[0, -len(logits) :].tolist()), logits


def caption(model: Any, inputs: dict[str, Tensor], longest: int) -> Said:
    """A caption of at most ``longest`` tokens, without its END."""
    tokens, logits = generated(model, inputs, longest + 1)
    return Said.of(logits, tokens[:-1] if len(tokens) <= longest else tokens[:longest])


def answer(model: Any, inputs: dict[str, Tensor], output: str) -> Said:
    """The likeliest of a fixed list of answers, by the logits [1, C] that ``forward`` gives as ``output``."""
    with _quietly():
        return Said.of(getattr(model(**inputs), output))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without a graph, with the caller's random state kept (ViLT shuffles its patches), without remarks."""
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=[]), quiet():
        yield
