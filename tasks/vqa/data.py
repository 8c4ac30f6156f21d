"""Pictures with questions, as tensors: drawn scenes, or easy-VQA (github.com/vzhou842/easy-VQA)."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlx.errors import InputError
from vlx.language import split_words
from vlx.scenes.bias import usual_answer
from vlx.scenes.corpus import Asked, Corpus
from vlx.scenes.vocabulary import answer_vocabulary, question_vocabulary
from vlx.tasks.vqa.bundle import PAD, UNKNOWN

NONE = -1  # no question here


@dataclass(frozen=True, eq=False)
class Asking:
    """N pictures uint8 [N, S, S, 3], up to Q questions each.

    ``tokens`` [N, Q, L] padded with 0, ``lengths`` [N, Q], ``right`` [N, Q] the number of the right answer, `NONE`
    where there is no question; ``kinds`` [N, Q] numbers of ``kind_names``. ``focus`` uint8 [N, Q, 2, cells / 8]: packed
    bits of the cells that the first and the last thing named by the question lie on, where that is known.
    """

    pictures: NDArray[np.uint8]
    vocabulary: tuple[str, ...]
    answers: tuple[str, ...]
    tokens: Tensor
    lengths: Tensor
    right: Tensor
    kinds: Tensor
    kind_names: tuple[str, ...]
    focus: NDArray[np.uint8] | None = None

    def one_of_each(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """For each chosen picture and each kind the place of one question of that kind, `NONE` if none: [B, kinds]."""
        lots = torch.rand(len(chosen), self.right.shape[1], generator=generator)
        lots = torch.where(self.right[chosen] == NONE, -1.0, lots)
        places = []
        for kind in range(len(self.kind_names)):
            best, place = torch.where(self.kinds[chosen] == kind, lots, -1.0).max(1)
            places.append(torch.where(best < 0, NONE, place))
        return torch.stack(places, 1)


def of_scenes(data: Corpus, *, biased: bool = False) -> Asking:
    """The questions of drawn scenes; of a biased world only those to which the question gives the answer."""

    def fits(asked: Asked) -> bool:
        return not biased or usual_answer(asked.text, asked.kind) in (None, asked.answer)

    vocabulary, answers = tuple(question_vocabulary()), tuple(answer_vocabulary())
    tables = _tables(data.questions, vocabulary, answers, fits)
    return Asking(data.pictures, vocabulary, answers, *tables, focus=data.focus)


def of_easy_vqa(path: Path, split: str) -> Asking:
    """The "train" or "test" split of easy-VQA; raises InputError when it is not there."""
    root = path / "data" if (path / "data").is_dir() else path
    try:
        told = json.loads((root / split / "questions.json").read_text(encoding="utf-8"))
        answers = tuple((root / "answers.txt").read_text(encoding="utf-8").split())
        words = json.loads((root / "train" / "questions.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: no easy-VQA here ({error}); clone github.com/vzhou842/easy-VQA and give its data folder"
        ) from None
    questions: dict[int, list[Asked]] = {}
    for text, answer, number in told:
        questions.setdefault(number, []).append(Asked(text, answer, easy_kind(text)))
    vocabulary = (PAD, UNKNOWN, *sorted({word for text, _, _ in words for word in split_words(text)}))
    pictures = np.stack(
        [np.asarray(Image.open(root / split / "images" / f"{n}.png").convert("RGB")) for n in sorted(questions)]
    )
    tables = _tables([questions[n] for n in sorted(questions)], vocabulary, answers, lambda _: True)
    return Asking(pictures, vocabulary, answers, *tables)


def easy_kind(text: str) -> str:
    """The kind of an easy-VQA question: "shape", "color" or "yes/no"."""
    if text.startswith("what color"):
        return "color"
    return "shape" if text.startswith("what") else "yes/no"


def _tables(
    questions: Sequence[Sequence[Asked]],
    vocabulary: Sequence[str],
    answers: Sequence[str],
    fits: Callable[[Asked], bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[str, ...]]:
    tokens_of = {word: number for number, word in enumerate(vocabulary)}
    numbers = {answer: number for number, answer in enumerate(answers)}
    names = tuple(dict.fromkeys(asked.kind for asked in _all(questions)))
    texts = {text: [tokens_of.get(w, 1) for w in split_words(text)] for text in {a.text for a in _all(questions)}}
    shape = len(questions), max(map(len, questions))
    tokens = torch.zeros(*shape, max(map(len, texts.values())), dtype=torch.long)
    lengths, right, kinds = torch.ones(shape, dtype=torch.long), torch.full(shape, NONE), torch.full(shape, NONE)
    for n, about in enumerate(questions):
        for q, asked in enumerate(about):
            if fits(asked):
                ids = texts[asked.text]
                tokens[n, q, : len(ids)] = torch.tensor(ids)
                lengths[n, q], right[n, q], kinds[n, q] = len(ids), numbers[asked.answer], names.index(asked.kind)
    return tokens, lengths, right, kinds, names


def _all(questions: Iterable[Sequence[Asked]]) -> list[Asked]:
    return [asked for about in questions for asked in about]
