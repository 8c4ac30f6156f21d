"""How a chat model is asked: a question beside a picture as the model's own processor puts it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from vlx.errors import ModelError
from vlx.language import shortened
from vlx.protocol.targets import Query
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.chat_families import ChatFamily
from vlx.tasks.huggingface.prompt_by_hand import example, placeholders
from vlx.tasks.huggingface.texts import written

Tokens = tuple[int, ...]
Size = tuple[int, int]
KEPT = 64  # questions whose tokens are kept
NO_TOKEN = ("input_ids", "attention_mask")


class Prompt(NamedTuple):
    """A question as the processor puts it: its ids, and beside them those inputs that have one number a token.

    Of some families an input that is another text's ids stands there, too (`ChatFamily`: ``apart``).
    """

    tokens: Tokens
    beside: tuple[Tokens, ...] = ()


class Prompting:
    """The way into one chat model's text: its ``processor``, by the ``family``'s prompt form.

    Marks, separators, token types and the chat template are the processor's, asked with a picture of the same size.
    Raises ModelError for a processor without a chat template where the family has need of one.
    """

    def __init__(self, processor: Any, family: ChatFamily, name: str) -> None:
        if not (family.prefix or family.form) and not getattr(processor, "chat_template", None):
            raise ModelError(
                f"{shortened(name, 80)}: its processor has no chat template: take the processor of the same "
                f"repository, or tell how a question is put to it: prompt={example(processor)!r}"
            )
        self.processor, self.tokenizer, self.family, self.name = processor, processor.tokenizer, family, name
        self.marks = placeholders(processor)
        self.beside = self._beside()
        self._questions: dict[tuple[str | None, Size], Prompt] = {}

    def made(self, image: Image.Image, question: str | None = None, answer: str | None = None) -> dict[str, Tensor]:
        """All that the processor makes of a picture and a question, and of the answer behind it."""
        return put(self.processor, self.family, image, question, answer)

    def question(self, query: Query, size: Size) -> Prompt:
        """A query's question beside a picture of ``size`` (H, W). Raises InputError as `written` does."""
        key = (query.question, size)
        if key not in self._questions:
            if query.question is not None:
                written(self.tokenizer, query.question, "question", self.name, self.marks)
            made = self.made(_blank(size), query.question)
            ids, *beside = (tuple(made[name][0].tolist()) for name in ("input_ids", *self.beside))
            while len(self._questions) >= KEPT:
                self._questions.pop(next(iter(self._questions)), None)
            self._questions[key] = Prompt(ids, tuple(beside))
        return self._questions[key]

    def spelled(self, query: Query, size: Size, text: str) -> Tokens:
        """A text as it stands behind the question: there a space may belong to its first token."""
        before = self.question(query, size).tokens
        whole = tuple(self.made(_blank(size), query.question, text)["input_ids"][0].tolist())
        if whole[: len(before)] == before:
            return whole[len(before) :]
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _beside(self) -> Sequence[str]:
        """The inputs of the text with one number a token beside its ids and its mask, and those that are apart."""
        made = self.made(_blank((64, 64)))
        shape = made["input_ids"].shape
        apart = self.family.apart
        known = (*NO_TOKEN, *apart, *apart.values())
        return (*sorted(name for name, value in made.items() if value.shape == shape and name not in known), *apart)


def put(
    processor: Any, family: ChatFamily, image: Image.Image, question: str | None, answer: str | None = None
) -> dict[str, Tensor]:
    """What a processor makes of a picture and a question in the family's prompt form, and of the answer behind it."""
    if family.form:
        text = family.describe if question is None else family.form.format(question)
        return stock.worded(processor, image, text, answer)
    ask = stock.prefixed if family.prefix else stock.asked
    return ask(processor, image, question or family.describe, answer)


def _blank(size: Size) -> Image.Image:
    return Image.new("RGB", size[::-1], (128, 128, 128))
