"""`CnnLstmVqa`: any CNN and any head over (A, question) as a task whose answers can be explained."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vlx.errors import InputError, ModelError
from vlx.language import shortened
from vlx.methods import engine
from vlx.protocol.nested import nested
from vlx.protocol.no_grad import regardless
from vlx.protocol.outputs import Outputs, pair_of, tried
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Prediction, Query, Reads, Target
from vlx.protocol.task import Defaults, Features
from vlx.tasks.shared.answers import Answers, answered
from vlx.tasks.shared.cnn_vision import CnnVision, Scope, rnn_backward_allowed
from vlx.tasks.shared.entries import is_special
from vlx.tasks.shared.text import Join, Read, Tokenize, Writing
from vlx.tasks.shared.wrapped import plain
from vlx.tasks.vqa.questions import is_vector, packed_vector, unpacked_vectors

LONGEST_QUESTION = 60
PADDING = 0


class Head(Protocol):
    """What a VQA model's second half must offer; the heads of `vlx.tasks.vqa.heads` are examples.

    Optional, for the words of the question: ``embed(tokens) → [N, L, E]``, ``answer(A, embedded, lengths) → logits``.
    """

    def __call__(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """A [N, K, h, w], question tokens [N, L] (padded) and their lengths [N] → logits [N, answers].

        Of questions that are vectors ``tokens`` is [N, Q] in A's dtype and every length Q.
        """
        ...


class CnnLstmVqa(CnnVision):
    """A VQA model split at its feature map A = ``cnn(images)``, [B, K, h, w].

    ``cnn``: images [B, C, H, W] → A. ``head(A [N, K, h, w], tokens [N, L], lengths [N]) → logits [N, answers]``.
    ``vocabulary``: the questions' words by token id, token 0 pads; ``answers``: the answers by number. ``prepare``: PIL
    RGB → [3, H, W]. ``outputs``: what the head's output means: "softmax", "sigmoid" (yes or no of each answer),
    "probabilities", "value" or a function (see `vlx.protocol.outputs`); by default found by trying. ``leaf``: the part
    of a head's output that is meant, e.g. "logits" or 0. ``unknown``: the token of unknown words; without it they are
    refused. ``tokenize``: text → a list of entries or token ids, ``join``: entries → text, for vocabularies that are
    not words between spaces. A question may also be a vector (a bag of words, an embedding): ``tokenize`` then gives a
    float tensor [Q], the head gets it as [N, Q] in the place of the tokens, ``vocabulary`` may be empty, and question
    words are left out. ``blank``: RGB in [0, 1] of a picture that shows nothing, by default found from ``prepare``.
    ``tells``: what of a picture lies outside of what the model was made for, (features, picture, text) → sentences.

    >>> bag = lambda text: torch.tensor([float(word in text.lower().split()) for word in words])
    >>> task = CnnLstmVqa(cnn, lambda A, bags, lengths: net(A, bags), [], answers, prepare, tokenize=bag)

    Raises ModelError when a part lacks what is needed, InputError for a vocabulary or answers that are no lists.
    """

    kind = "vqa"

    def __init__(
        self,
        cnn: Callable[[Tensor], Tensor],
        head: Head,
        vocabulary: Sequence[str],
        answers: Sequence[str],
        prepare: Callable[[Image.Image], Tensor],
        *,
        outputs: Any = None,
        leaf: str | int | None = None,
        unknown: int | None = None,
        tokenize: Tokenize | None = None,
        join: Join | None = None,
        name: str = "vqa",
        blank: tuple[float, float, float] | None = None,
        defaults: Defaults | None = None,
        notes: Sequence[str] = (),
        tells: Scope | None = None,
    ) -> None:
        head = plain(head)
        _check(head, vocabulary, answers, unknown, tokenize is not None)
        super().__init__("head", cnn=cnn, prepare=prepare, name=name, blank=blank, notes=notes, tells=tells)
        self.head = head
        self.vocabulary, self.answers, self.unknown = list(vocabulary), list(answers), unknown
        self.defaults = defaults or Defaults(gradients="batched")
        self.outputs = Outputs(outputs, leaf, f"the head of {name}", "answers")
        pad = PADDING if self.vocabulary and (not self.vocabulary[0] or is_special(self.vocabulary[0])) else None
        self.writing = Writing(self.vocabulary, name, tokenize, join, unknown, padding=pad, vectors=True)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The likeliest answer to each query's question, or the ``answer`` it names; ``instead_of`` makes a contrast.

        Raises InputError without a question, for an answer that there is not and for one that is compared to itself,
        UnknownWords for words of the question outside the vocabulary when there is no ``unknown`` token.
        """
        asked = [self.read(_question(query)) for query in queries]
        with torch.no_grad():
            table = self.logits(features.A, [_tokens(read) for read in asked], features.rest)
        made = []
        for row, query, read in zip(table, queries, asked, strict=True):
            labels = Answers(self.answers, self.name)
            one = answered(row, labels, query, outputs=self.outputs, tokens=_tokens(read))
            made.append(replace(one, notes=(*one.notes, *_unknown(read.unknown), *read.notes)))
        return made

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets → [N]; a question that several targets share is run once."""
        self.refuse_training()
        asked: dict[tuple[int, tuple[int, ...]], int] = {}
        numbers = [asked.setdefault((target.row, target.tokens), len(asked)) for target in targets]
        rows = [row for row, _ in asked]
        if rows != list(range(len(A))):
            A, rest = A[rows], nested(lambda tensor: tensor if len(tensor) == 1 else tensor[rows], rest)
        logits = self.logits(A, [tokens for _, tokens in asked], rest)
        reads = Reads.of(targets)
        return reads.combine(logits[[numbers[n] for n, _ in reads.pairs]], self.outputs.read)

    def logits(self, A: Tensor, questions: Sequence[tuple[int, ...]], rest: Any = None) -> Tensor:
        """A [N, K, h, w] and the tokens of N questions → scores [N, answers], as `Outputs.table` has them.

        Raises ModelError for NaN, for another number of answers, and for outputs whose meaning is open.
        """
        columns = self._columns(A, questions, rest)
        if self.outputs.meaning is None:
            self._settle(A, questions, columns, rest)
        table = self.outputs.table(columns)
        if table.shape[1] != len(self.answers):
            raise ModelError(
                f"{self.name}: the head gives {list(columns.shape)} for {len(questions)} questions and "
                f"{len(self.answers)} answers; needed is [{len(questions)}, {len(self.answers)}]"
            )
        return table

    def _columns(self, A: Tensor, questions: Sequence[tuple[int, ...]], rest: Any) -> Tensor:
        """What the head gives for each question, [N, C]; −∞ rules an answer out."""
        columns = self.outputs.columns(self.head(self._own(A, rest), *_given(questions, A)), len(questions))
        if (columns.isnan() | columns.isposinf()).any() or columns.isneginf().all(1).any():
            raise ModelError(f"{self.name}: the head gives NaN; check its weights")
        return columns

    def _settle(self, A: Tensor, questions: Sequence[tuple[int, ...]], columns: Tensor, rest: Any) -> None:
        """Find out, once, what the head's outputs mean, from what it makes of other feature maps."""
        with torch.no_grad():
            maps = tried(A[:1].detach())
            others = self._own(maps, nested(lambda tensor: tensor[:1], rest))
            with suppress(Exception):  # whatever the head says of strange maps
                given = self.head(others, *_given([questions[0]] * len(maps), A))
                columns = torch.cat([columns, self.outputs.columns(given, len(maps))])
        single = self.answers if columns.shape[1] == 1 else None
        self.notes += self.outputs.settle(columns, single)
        if self.outputs.pair:
            self.answers = list(pair_of(single)[0])

    def question_gradients(self, A: Tensor, target: Target, rest: Any = None) -> Tensor | None:
        """Gradient × embedding of each word of the target's question at A [1, K, h, w], [L], in the target's unit.

        None for a head without the halves ``embed`` and ``answer``, for a question that is a vector, and where the head
        lets no gradient through.
        """
        embed, answer = getattr(self.head, "embed", None), getattr(self.head, "answer", None)
        if embed is None or answer is None or is_vector(target.tokens):
            return None
        tokens, lengths = padded([target.tokens], A.device)
        with regardless(), rnn_backward_allowed(A.device):
            own = self._own(A, rest).clone().detach()
            embedded = embed(tokens).detach().requires_grad_()
            table = self.outputs.table(self.outputs.columns(answer(own, embedded, lengths), 1))
            score = Reads.of([target]).combine(table, self.outputs.read).sum()
            if not score.requires_grad:
                return None
            (gradient,) = engine.pull([score], [embedded])
        products: Tensor = (gradient * embedded.detach()).sum(2)[0]
        return products

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What the CNN and the head answer when they are called by themselves; see `vlx.protocol.stocked.Stocked`."""
        asked = _tokens(CnnLstmVqa.read(self, _question(query)))
        with torch.no_grad():
            A = self.cnn(self.place(self.prepare(image)[None]))
            output = self.head(A, *_given([asked], A))
            return Said.read(self.outputs, output)

    def read(self, question: str) -> Read:
        """A question as the vocabulary's entries, or as the vector that ``tokenize`` gives.

        Raises InputError for an empty or endless question, one that holds padding inside, and where it is open how it
        is cut; UnknownWords when there is no ``unknown`` token.
        """
        return self.writing.read(question, "question", LONGEST_QUESTION)

    def tokens(self, question: str) -> tuple[list[str], tuple[int, ...], list[str]]:
        """A question's words, their token ids, and the words that stand for ``unknown``; see `read`."""
        read = self.read(question)
        return list(read.labels), _tokens(read), read.unknown

    def shortened(self, question: str, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each entry of the question, and the question's ``tokens`` without it; see `vlx.protocol.powers.Hears`.

        Empty where the question is a vector: it has no words that could be left out.
        """
        words = self.read(question).labels
        return [(word, tokens[:n] + tokens[n + 1 :] or (PADDING,)) for n, word in enumerate(words)]


def padded(questions: Sequence[tuple[int, ...]], device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Token ids → tokens int64 [N, L], padded with 0, and lengths [N]."""
    lengths = torch.tensor([len(tokens) for tokens in questions])
    table = torch.full((len(questions), int(lengths.max())), PADDING)
    for row, tokens in zip(table, questions, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return table.to(device), lengths.to(device)


def _unknown(missing: Sequence[str]) -> tuple[str, ...]:
    if not missing:
        return ()
    return (f"not in the vocabulary, read as unknown: {', '.join(map(shortened, missing))}",)


def _given(questions: Sequence[tuple[int, ...]], A: Tensor) -> tuple[Tensor, Tensor]:
    """What the head is given for questions about A: tokens or vectors, and lengths."""
    return unpacked_vectors(questions, A) if any(map(is_vector, questions)) else padded(questions, A.device)


def _tokens(read: Read) -> tuple[int, ...]:
    return read.ids if read.vector is None else packed_vector(read.vector)


def _question(query: Query) -> str:
    if query.caption is not None or query.prompt is not None:
        raise InputError("a VQA model takes no caption and no prompt; ask it with question=…")
    if query.question is None:
        raise InputError("a VQA model needs a question; give question=…")
    return query.question


def _check(
    head: Any, vocabulary: Sequence[str], answers: Sequence[str], unknown: int | None, own: bool = False
) -> None:
    if not callable(head):
        raise ModelError(f"the head ({type(head).__name__}) is not callable; needed is head(A, tokens, lengths)")
    for name, words in (("vocabulary", vocabulary), ("answers", answers)):
        if own and words is vocabulary and isinstance(words, list | tuple) and not words:
            continue  # questions that are vectors need none
        if isinstance(words, str | dict) or not words or not all(isinstance(word, str) for word in words):
            raise InputError(f"the {name} must be a list of words (str), one a number")
    if unknown is not None and not 0 <= unknown < len(vocabulary):
        raise InputError(f"unknown={unknown} is not a token id of a vocabulary of {len(vocabulary)} words")
