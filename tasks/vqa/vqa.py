"""`CnnLstmVqa`: any CNN and any head over (A, question) as a task whose answers can be explained."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vlx.errors import InputError, ModelError, UnknownWords
from vlx.language import close_matches, shortened, split_words, unknown_words
from vlx.task import Alternative, Defaults, Features, Prediction, Query, Reads, Target, Term, Word
from vlx.tasks.shared.vision import CnnVision, rnn_backward_allowed

LONGEST_QUESTION = 60
ALTERNATIVES = 6
PADDING = 0
HALVES = (torch.float16, torch.bfloat16)


class Head(Protocol):
    """What a VQA model's second half must offer; the heads of `vlx.tasks.vqa.heads` are examples.

    Optional, for the words of the question: ``embed(tokens) → [N, L, E]``, ``answer(A, embedded, lengths) → logits``.
    """

    def __call__(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """A [N, K, h, w], question tokens [N, L] (padded) and their lengths [N] → logits [N, answers]."""
        ...


class CnnLstmVqa(CnnVision):
    """A VQA model split at its feature map A = ``cnn(images)``, [B, K, h, w].

    ``cnn``: images [B, 3, H, W] → A. ``head(A [N, K, h, w], tokens [N, L], lengths [N]) → logits [N, answers]``.
    ``vocabulary``: the questions' words by token id, token 0 pads; ``answers``: the answers by number. ``prepare``: PIL
    RGB → [3, H, W]. ``unknown``: the token of unknown words; without it they are refused. ``blank``: RGB in [0, 1] of a
    picture that shows nothing, by default found from ``prepare``.

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
        unknown: int | None = None,
        name: str = "vqa",
        blank: tuple[float, float, float] | None = None,
        defaults: Defaults | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        _check(head, vocabulary, answers, unknown)
        super().__init__(cnn, prepare, name=name, blank=blank, notes=notes)
        self.head = head
        self.vocabulary, self.answers, self.unknown = list(vocabulary), list(answers), unknown
        self.defaults = defaults or Defaults("gradcam", "logit", "batched")
        self._index = {word.casefold(): token for token, word in reversed(list(enumerate(self.vocabulary)))}
        self._numbers = {answer.casefold(): number for number, answer in reversed(list(enumerate(self.answers)))}

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The likeliest answer to each query's question, or the ``answer`` it names; ``instead_of`` makes a contrast.

        Raises InputError without a question, for an answer that there is not and for one that is compared to itself,
        UnknownWords for words of the question outside the vocabulary when there is no ``unknown`` token.
        """
        asked = [self.tokens(_question(query)) for query in queries]
        with torch.no_grad():
            logits = self.logits(features.A, [tokens for _, tokens, _ in asked])
        logprobs = logits.double().log_softmax(-1).cpu()
        return [
            self._predicted(row, query, tokens, missing)
            for row, query, (_, tokens, missing) in zip(logprobs, queries, asked, strict=True)
        ]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets → [N]; a question that several targets share is run once."""
        self._refuse_training()
        asked: dict[tuple[int, tuple[int, ...]], int] = {}
        numbers = [asked.setdefault((target.row, target.tokens), len(asked)) for target in targets]
        rows = [row for row, _ in asked]
        own = A if rows == list(range(len(A))) else A[rows]
        logits = self.logits(own, [tokens for _, tokens in asked])
        reads = Reads.of(targets)
        return reads.combine(logits[[numbers[n] for n, _ in reads.pairs]])

    def logits(self, A: Tensor, questions: Sequence[tuple[int, ...]]) -> Tensor:
        """A [N, K, h, w] and the tokens of N questions → logits [N, answers]; raises ModelError for NaN."""
        tokens, lengths = padded(questions, A.device)
        logits = self.head(A, tokens, lengths)
        if logits.shape != (len(questions), len(self.answers)):
            raise ModelError(
                f"{self.name}: the head gives {list(logits.shape)} for {len(questions)} questions and "
                f"{len(self.answers)} answers; needed is [{len(questions)}, {len(self.answers)}]"
            )
        if not torch.isfinite(logits.logsumexp(-1)).all():
            raise ModelError(f"{self.name}: the head gives NaN; check its weights")
        return logits.float() if logits.dtype in HALVES else logits

    def question_gradients(self, A: Tensor, target: Target, rest: Any = None) -> Tensor | None:
        """Gradient × embedding of each word of the target's question at A [1, K, h, w], [L], in the target's unit.

        None for a head without the halves ``embed`` and ``answer``.
        """
        embed, answer = getattr(self.head, "embed", None), getattr(self.head, "answer", None)
        if embed is None or answer is None:
            return None
        tokens, lengths = padded([target.tokens], A.device)
        with torch.inference_mode(False), torch.enable_grad(), rnn_backward_allowed(A.device):
            own = A.clone().detach()
            embedded = embed(tokens).detach().requires_grad_()
            score = Reads.of([target]).combine(answer(own, embedded, lengths)).sum()
            (gradient,) = torch.autograd.grad(score, embedded)
        products: Tensor = (gradient * embedded.detach()).sum(2)[0]
        return products

    def tokens(self, question: str) -> tuple[list[str], tuple[int, ...], list[str]]:
        """A question's words, their token ids, and the words that stand for ``unknown``.

        Raises InputError for an empty or endless question and UnknownWords when there is no ``unknown`` token.
        """
        words = split_words(question)
        if not words:
            raise InputError(f"the question {shortened(question)!r} holds no word; ask something")
        if len(words) > LONGEST_QUESTION:
            raise InputError(f"the question has {len(words)} words, at most {LONGEST_QUESTION}; shorten it")
        found = [self._index.get(word.casefold()) for word in words]
        missing = [word for word, token in zip(words, found, strict=True) if token is None]
        if missing and self.unknown is None:
            raise UnknownWords(unknown_words(self.name, missing, self._index))
        return words, tuple(self.unknown if token is None else token for token in found), missing  # type: ignore[misc]

    def shortened(self, question: str, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of the question, and the question's ``tokens`` without it; see `vlx.task.Hears`."""
        words, _, _ = self.tokens(question)
        return [(word, tokens[:n] + tokens[n + 1 :] or (PADDING,)) for n, word in enumerate(words)]

    def _predicted(self, logprobs: Tensor, query: Query, tokens: tuple[int, ...], missing: Sequence[str]) -> Prediction:
        number = int(logprobs.argmax()) if query.answer is None else self._answer(query.answer)
        terms: tuple[Term, ...] = (Term(0, number),)
        sides: tuple[Alternative, ...] = ()
        if query.instead_of is not None:
            other = self._answer(query.instead_of)
            if other == number:
                raise InputError(
                    f"instead_of={query.instead_of!r} is the answer that is explained; name another to compare with"
                )
            terms += (Term(0, other, -1.0),)
            sides = tuple(Alternative(self.answers[n], n, float(logprobs[n])) for n in (number, other))
        values, likely = logprobs.topk(min(ALTERNATIVES, len(logprobs)))
        others = tuple(
            Alternative(self.answers[n], n, value) for n, value in zip(likely.tolist(), values.tolist(), strict=True)
        )
        word = Word(self.answers[number], terms, float(logprobs[number]), others, sides=sides)
        told = (f"not in the vocabulary, read as unknown: {', '.join(map(shortened, missing))}",) if missing else ()
        return Prediction(word.label, (word,), tokens, query.answer is not None, told)

    def _answer(self, answer: str) -> int:
        number = self._numbers.get(" ".join(answer.split()).casefold())
        if number is None:
            near = close_matches(answer.casefold(), self._numbers)
            hint = f"close: {', '.join(near)}" if near else f"some of them: {', '.join(self.answers[:12])}"
            raise InputError(
                f"{shortened(answer)!r} is not among the {len(self.answers)} answers of {self.name}; {hint}"
            )
        return number

    def _parts(self) -> dict[str, Any]:
        return {"cnn": self.cnn, "head": self.head}


def padded(questions: Sequence[tuple[int, ...]], device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Token ids → tokens int64 [N, L], padded with 0, and lengths [N]."""
    lengths = torch.tensor([len(tokens) for tokens in questions])
    table = torch.full((len(questions), int(lengths.max())), PADDING)
    for row, tokens in zip(table, questions, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return table.to(device), lengths.to(device)


def _question(query: Query) -> str:
    if query.caption is not None or query.prompt is not None:
        raise InputError("a VQA model takes no caption and no prompt; ask it with question=…")
    if query.question is None:
        raise InputError("a VQA model needs a question; give question=…")
    return query.question


def _check(head: Any, vocabulary: Sequence[str], answers: Sequence[str], unknown: int | None) -> None:
    if not callable(head):
        raise ModelError(f"the head ({type(head).__name__}) is not callable; needed is head(A, tokens, lengths)")
    for name, words in (("vocabulary", vocabulary), ("answers", answers)):
        if isinstance(words, str | dict) or not words or not all(isinstance(word, str) for word in words):
            raise InputError(f"the {name} must be a list of words (str), one a number")
    if unknown is not None and not 0 <= unknown < len(vocabulary):
        raise InputError(f"unknown={unknown} is not a token id of a vocabulary of {len(vocabulary)} words")
