"""What the tiny chat models share: their sizes, how they are asked, and a moment of learning to answer in words."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.tiny.fitting import COUNT, IGNORED, RATE
from vlx.tasks.huggingface.tiny.tokens import CONTEXT, THOUGHT
from vlx.tasks.huggingface.tiny.words import chats

SPREAD = 0.06  # of random weights; the usual 0.02 leaves tiny models all but blind
STEPS, PARTS = 60, 2  # of learning; of what is learned, one a step
SIZES = ((90, 60), (60, 90))  # (W, H) of the pictures that they learn from
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}

Asked = dict[str, Tensor]
Lesson = Sequence[tuple[Image.Image, tuple[str, str]]]  # a picture, a question, an answer
Ask = Callable[[Any, Image.Image, str, str | None], Asked]


def text_sizes(tokenizer: Any, **others: Any) -> dict[str, Any]:
    """Sizes of a language model of two layers, with groups of two query heads; ``others`` replace and add."""
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}
    sizes |= {"vocab_size": len(tokenizer), "initializer_range": SPREAD, "bos_token_id": tokenizer.bos_token_id}
    return sizes | {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id} | others


def fitted(
    model: Any,
    processor: Any,
    ends: Sequence[str],
    *,
    fill: Mapping[str, int] | None = None,
    ask: Ask = stock.asked,
    says: str = "{}",
    steps: int = STEPS,
) -> tuple[Any, Any]:
    """The model after a moment of learning, in which all but its vision part changes, and its processor.

    ``ends``: tokens that end an answer; a learned answer ends with the first. ``fill``: as in a row of chat families.
    ``says``: how an answer is put. What is generated holds no other special token.
    """
    tokenizer = processor.tokenizer
    stops = tokenizer.convert_tokens_to_ids(list(ends))
    model.eval()
    model.generation_config = generation(tokenizer, stops)
    batches = [_batch(model, processor, lesson, ask, stops[0], fill or {}) for lesson in lessons(says)]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=RATE)
    with torch.enable_grad():
        for step in range(steps):
            optimizer.zero_grad()
            inputs, wanted = batches[step % len(batches)]
            logits = model(**inputs, use_cache=False).logits
            torch.autograd.backward(cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED))
            optimizer.step()
    optimizer.zero_grad()
    return model, processor


def generation(tokenizer: Any, stops: list[int]) -> Any:
    """A generation configuration: ``stops`` end an answer, which is not empty and holds no other special token."""
    import transformers as hf

    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.content not in THOUGHT}
    return hf.GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops if len(stops) > 1 else stops[0],
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=sorted({*tokenizer.all_special_ids, *added} - set(stops)),
        begin_suppress_tokens=stops,
    )


def _batch(
    model: Any, processor: Any, lesson: Lesson, ask: Ask, end: int, fill: Mapping[str, int]
) -> tuple[dict[str, Any], Tensor]:
    """What ``forward`` takes of pictures, questions and answers, and the ids that are to be written next."""
    rows, wanted = [], []
    for picture, (question, answer) in lesson:
        asked = ask(processor, picture, question, None)
        prompt = asked["input_ids"][0].tolist()
        longer = ask(processor, picture, question, answer)["input_ids"][0].tolist()
        if longer[: len(prompt)] != prompt:  # a template that puts an answer otherwise than it asks for one
            longer = prompt + processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        said = [*longer[len(prompt) :], end]
        rows.append((asked, [*prompt, *said[:-1]], len(said) - 1))
        wanted.append([*[IGNORED] * (len(prompt) - 1), *said])
    ids = _table([row for _, row, _ in rows], end)
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    for name, number in fill.items():
        inputs[name] = _table([[*asked[name][0].tolist(), *[number] * said] for asked, _, said in rows], number)
    seen = {name: torch.cat([asked[name] for asked, *_ in rows]) for name in _vision(model, rows[0][0])}
    with torch.no_grad():
        inputs["mm_encoder_outputs"] = {"image": model.base_model.get_image_features(**seen, return_dict=True)}
    return inputs, _table(wanted, IGNORED)


def _vision(model: Any, asked: Asked) -> list[str]:
    taken = signature(model.base_model.get_image_features).parameters
    return [name for name in asked if name in taken]


def lessons(says: str = "{}") -> list[Lesson]:
    """Pictures of one size each, 6 × 6 squares about a colour, plain to glaring; the colour tells the answer.

    ``says``: how an answer is put.
    """
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (COUNT, 1, 1, 3))
    made: list[Lesson] = []
    for size in SIZES * 2:
        squares = rng.integers(-128, 128, (COUNT, 6, 6, 3)) * rng.random((COUNT, 1, 1, 1))
        colors = np.clip(ground + squares, 0, 255).astype("uint8")
        pictures = [Image.fromarray(color).resize(size, Image.Resampling.NEAREST) for color in colors]
        told = [(question, says.format(answer)) for question, answer in chats()]
        pairs = list(zip(pictures, told, strict=True))
        made += [pairs[part::PARTS] for part in range(PARTS)]
    return made


def _table(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
