"""A prompt by hand, for a chat model whose processor has no chat template: where the picture and the question stand."""

import re
from copy import copy
from typing import Any

from vlx.errors import InputError
from vlx.language import shortened

QUESTION = "{question}"
EXAMPLE = "USER: {mark}\n{question} ASSISTANT:"
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ %before% }}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{{ %behind% }}"
    "{% else %}{{ %space% }}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}{% endfor %}"
)


def prompted(processor: Any, prompt: str, name: str) -> Any:
    r"""The processor with a chat template that puts a question as ``prompt`` says; the one given is left as it is.

    ``prompt`` holds the mark of the picture and {question} once each, and ends where the answer begins:

    >>> prompted(processor, "USER: <image>\n{question} ASSISTANT:", "llava")

    Raises InputError for a prompt without one of the two, or with several.
    """
    form, shown = shortened(repr(prompt), 60), example(processor)
    mark = next((mark for mark in marks_of(processor) if mark in str(prompt)), marks_of(processor)[0])
    if not isinstance(prompt, str) or prompt.count(QUESTION) != 1:
        raise InputError(f"prompt={form} must hold {{question}} once, where the question goes: prompt={shown!r}")
    if prompt.count(mark) != 1:
        raise InputError(
            f"prompt={form} must hold the mark of the picture of {shortened(name, 60)}, {mark}, once: prompt={shown!r}"
        )
    before, behind = prompt.split(QUESTION)
    space = "" if behind[-1:].isspace() else " "
    texts = {"before": before, "behind": behind, "space": space}
    changed = copy(processor)
    changed.chat_template = re.sub("%([a-z]+)%", lambda place: _literal(texts[place[1]]), TEMPLATE)
    return changed


def example(processor: Any) -> str:
    """A prompt as it may be given for this processor."""
    return EXAMPLE.replace("{mark}", marks_of(processor)[0])


def marks_of(processor: Any) -> list[str]:
    """The texts that stand for a picture in a prompt of this processor."""
    owners = (processor, getattr(processor, "tokenizer", None))
    marks = (getattr(owner, kind, None) for kind in ("boi_token", "image_token") for owner in owners)
    return list(dict.fromkeys(str(mark) for mark in marks if mark)) or ["<image>"]


def placeholders(processor: Any) -> tuple[str, ...]:
    """The texts that a processor puts pictures, videos or parts of them in place of, special tokens or not."""
    named = (value for name, value in vars(processor).items() if re.search("_(token|tag)$", name))
    return tuple(sorted({str(mark) for mark in (*named, *marks_of(processor)) if re.search(r"[^\w\s]", str(mark))}))


def _literal(text: str) -> str:
    """A text as a string of Jinja."""
    escaped = text.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"'{escaped}'"
