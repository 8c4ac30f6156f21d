"""Pictures with questions, as tensors: drawn scenes, or easy-VQA (github.com/vzhou842/easy-VQA)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.example import Example
from vlx.data.questions import EasyVqaData, shape_mask
from vlx.language import split_words
from vlx.scenes.bias import usual_answer
from vlx.scenes.corpus import AskedScene, Corpus, covered
from vlx.scenes.vocabulary import answer_vocabulary, question_vocabulary
from vlx.tasks.vqa.bundle import PAD, UNKNOWN

NONE = -1  # no question here
STRIDE = 8  # pixels from cell to cell of A
EASY_DRAWS = 5  # most of easy-VQA's questions are of one kind, yes/no


@dataclass(frozen=True, eq=False)
class AskedPictures:
    """N pictures uint8 [N, S, S, 3], up to Q questions each.

    ``tokens`` [N, Q, L] padded with 0, ``lengths`` [N, Q], ``right`` [N, Q] the number of the right answer, `NONE`
    where there is no question; ``kinds`` [N, Q] numbers of ``kind_names``. ``focus`` uint8 [N, Q, 2, cells / 8]: packed
    bits of the cells that the first and the last thing named by the question lie on, where that is known. A batch takes
    ``draws`` questions of each kind about each picture.
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
    draws: int = 1

    def some_of_each(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Places of ``draws`` questions of each kind about each chosen picture, `NONE` if none: [B, kinds · draws]."""
        lots = torch.rand(len(chosen), self.right.shape[1], generator=generator)
        lots = torch.where(self.right[chosen] == NONE, -1.0, lots)
        places = []
        for kind in range(len(self.kind_names)):
            best, place = torch.where(self.kinds[chosen] == kind, lots, -1.0).topk(self.draws, 1)
            places.append(torch.where(best < 0, NONE, place))
        return torch.cat(places, 1)


def of_scenes(data: Corpus, *, biased: bool = False) -> AskedPictures:
    """The questions of drawn scenes; of a biased world only those to which the question gives the answer."""

    def fits(asked: AskedScene) -> bool:
        return not biased or usual_answer(asked.text, asked.kind) in (None, asked.answer)

    vocabulary, answers = tuple(question_vocabulary()), tuple(answer_vocabulary())
    tables = _tables(data.questions, vocabulary, answers, fits)
    return AskedPictures(data.pictures, vocabulary, answers, *tables, focus=data.focus)


def of_easy_vqa(path: Path, split: str) -> AskedPictures:
    """The "train" or "test" split of easy-VQA; raises InputError when it is not there."""
    data, words = EasyVqaData(path, split), EasyVqaData(path, "train")
    examples = [data[number] for number in range(len(data))]
    asked = [[str(ask.query.question) for ask in words[number].asks] for number in range(len(words))]
    vocabulary = (PAD, UNKNOWN, *sorted({word for texts in asked for text in texts for word in split_words(text)}))
    pictures = np.stack([np.asarray(example.image) for example in examples])
    tables = _tables([_questions(example) for example in examples], vocabulary, data.answers, lambda _: True)
    return AskedPictures(
        pictures,
        vocabulary,
        data.answers,
        *tables,
        focus=_on_shapes(pictures, tables[0].shape[1]),
        draws=min(EASY_DRAWS, tables[0].shape[1]),
    )


def _questions(example: Example) -> list[AskedScene]:
    return [AskedScene(str(ask.query.question), str(ask.query.answer), ask.group) for ask in example.asks]


def _on_shapes(pictures: NDArray[np.uint8], questions: int) -> NDArray[np.uint8]:
    """`AskedPictures.focus`: every question is about the picture's one shape."""
    cells = pictures.shape[1] // STRIDE
    masks = np.stack([covered(shape_mask(picture), cells) for picture in pictures])
    packed = np.packbits(masks.reshape(len(masks), -1), axis=1)
    return np.broadcast_to(packed[:, None, None], (len(masks), questions, 2, packed.shape[1]))


def _tables(
    questions: Sequence[Sequence[AskedScene]],
    vocabulary: Sequence[str],
    answers: Sequence[str],
    fits: Callable[[AskedScene], bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[str, ...]]:
    tokens_of = {word: number for number, word in enumerate(vocabulary)}
    names = tuple(dict.fromkeys(asked.kind for about in questions for asked in about))
    numbers = {answer: number for number, answer in enumerate(answers)}
    texts = {text: n for n, text in enumerate(dict.fromkeys(asked.text for about in questions for asked in about))}
    words = [[tokens_of.get(word, 1) for word in split_words(text)] for text in texts]
    most = max(map(len, questions))

    def table(read: Callable[[AskedScene], int]) -> Tensor:
        """One number a question, [N, Q]; `NONE` where there is none."""
        rows = [[read(asked) if fits(asked) else NONE for asked in about] for about in questions]
        return torch.tensor([row + [NONE] * (most - len(row)) for row in rows])

    of_text, right = table(lambda asked: texts[asked.text]), table(lambda asked: numbers[asked.answer])
    kinds = table(lambda asked: names.index(asked.kind))
    by_text = torch.zeros(len(texts) + 1, max(map(len, words)), dtype=torch.long)  # the last row is for NONE
    for row, ids in zip(by_text, words, strict=False):
        row[: len(ids)] = torch.tensor(ids)
    lengths = torch.tensor([*map(len, words), 1])
    return by_text[of_text], lengths[of_text], right, kinds, names
