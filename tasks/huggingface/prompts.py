"""A prompt by hand, for a chat model whose processor has no chat template: where the picture and the question stand."""

from copy import copy
from typing import Any

from vlx.errors import InputError
from vlx.language import shortened

QUESTION = "{question}"
EXAMPLE = "USER: {mark}\\n{question} ASSISTANT:"
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
    marks, form = marks_of(processor), shortened(repr(prompt), 60)
    mark = next((mark for mark in marks if mark in str(prompt)), marks[0] if marks else "<image>")
    example = EXAMPLE.replace("{mark}", mark)
    if not isinstance(prompt, str) or prompt.count(QUESTION) != 1:
        raise InputError(f"prompt={form} must hold {{question}} once, where the question goes: prompt={example!r}")
    if prompt.count(mark) != 1:
        raise InputError(
            f"prompt={form} must hold the mark of the picture of {shortened(name, 60)}, {mark}, once: "
            f"prompt={example!r}"
        )
    before, behind = prompt.split(QUESTION)
    space = "" if behind[-1:].isspace() else " "
    template = TEMPLATE
    for place, text in (("%before%", before), ("%behind%", behind), ("%space%", space)):
        template = template.replace(place, _literal(text))
    changed = copy(processor)
    changed.chat_template = template
    return changed


def marks_of(processor: Any) -> list[str]:
    """The texts that stand for a picture in a prompt of this processor."""
    owners = (processor, getattr(processor, "tokenizer", None))
    marks = (getattr(owner, kind, None) for kind in ("boi_token", "image_token") for owner in owners)
    return [mark for mark in dict.fromkeys(str(mark) for mark in marks if mark)]


def _literal(text: str) -> str:
    """A text as a string of Jinja."""
    escaped = text.encode("unicode_escape").decode("ascii").replace("'", "\\'")
    return f"'{escaped}'"
