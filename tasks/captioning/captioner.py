"""`CnnLstmCaptioner`: any CNN and any step-by-step decoder as a task that can be explained word by word."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlx.errors import InputError, ModelError
from vlx.language import shortened
from vlx.probes.contrast import contrasted_word
from vlx.protocol.nested import nested, tensors
from vlx.protocol.stocked import Said
from vlx.protocol.targets import CAPTION, Alternative, Prediction, Query, Reads, Target, Term, Word
from vlx.protocol.task import Defaults, Features
from vlx.tasks.captioning.decoding import (
    Decoder,
    Generated,
    beam,
    device_of,
    greedy,
    hidden_states,
    logits_of,
    said_alone,
    take,
)
from vlx.tasks.captioning.state import check_state
from vlx.tasks.shared.cnn_vision import CnnVision, Scope, rnn_backward_allowed
from vlx.tasks.shared.text import Join, Read, Tokenize, Writing
from vlx.tasks.shared.wrapped import plain

LONGEST_FORCED = 100
WHOLE = 1e-3  # how near to 1 the shares of all cells must add up
ALTERNATIVES = 5


class CnnLstmCaptioner(CnnVision):
    """A captioner split at its feature map A = ``cnn(images)``, [B, K, h, w].

    ``cnn``: images [B, C, H, W] → A. ``decoder``: ``start(A) → state``, ``step(tokens [B], state) → (hidden, state)``,
    ``logits(hidden) → [B, V]`` (see `vlx.tasks.captioning.decoding.Decoder`). ``vocabulary``: the words by token id.
    ``prepare``: PIL RGB → [C, H, W]. ``start``, ``end``, ``unknown``: token ids; without ``end`` every caption has
    ``max_words`` words. ``tokenize``: text → a list of entries or token ids, ``join``: entries → text, for vocabularies
    that are not words between spaces, such as pieces of words; characters (the space among them) are known by
    themselves. Each entry is explained by itself, punctuation too. ``blank``: RGB in [0, 1] of a picture that shows
    nothing, by default found from ``prepare``. ``tells``: what of a picture lies outside of what the model
    was made for, (features [1, …], picture, text) → sentences.

    >>> CnnLstmCaptioner(cnn, decoder, tokenizer.get_vocab_list(), prepare, start=101, end=102,
    ...                  tokenize=tokenizer.tokenize, join=tokenizer.convert_tokens_to_string)

    Raises ModelError when a part lacks what is needed, InputError for a vocabulary that does not hold the token ids.
    """

    kind = "captioning"

    def __init__(
        self,
        cnn: Callable[[Tensor], Tensor],
        decoder: Decoder,
        vocabulary: Sequence[str],
        prepare: Callable[[Image.Image], Tensor],
        *,
        start: int = 0,
        end: int | None = None,
        unknown: int | None = None,
        max_words: int = 20,
        tokenize: Tokenize | None = None,
        join: Join | None = None,
        name: str = "captioner",
        blank: tuple[float, float, float] | None = None,
        defaults: Defaults | None = None,
        notes: Sequence[str] = (),
        tells: Scope | None = None,
    ) -> None:
        decoder = plain(decoder)
        _check(decoder, vocabulary, {"start": start, "end": end, "unknown": unknown}, max_words)
        super().__init__("decoder", cnn=cnn, prepare=prepare, name=name, blank=blank, notes=notes, tells=tells)
        self.decoder, self._checked = decoder, False
        self.vocabulary = list(vocabulary)
        self.start, self.end, self.unknown, self.max_words = start, end, unknown, max_words
        self.defaults = defaults or Defaults(gradients="rows")
        self.writing = Writing(self.vocabulary, name, tokenize, join, unknown, start, end)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """A caption for each of the B pictures: generated, or the query's own when it has one.

        Raises InputError for a query with a question or an answer, ModelError for logits of another size than the
        vocabulary and for NaN.
        """
        if any(query.question or query.answer or query.instead_of for query in queries):
            raise InputError("a captioner takes no question, answer or instead_of; force a text with caption=…")
        if any(query.prompt is not None for query in queries):
            raise InputError("this captioner takes no prompt; force the whole text with caption=…")
        with torch.no_grad():
            self._check_state(features)
            state = self.decoder.start(self._own(features.A, features.rest).clone())  # a decoder may work in place
            generated = self._generate(state, queries)
            return [
                self._forced(query.caption, take(state, [row]))
                if query.caption is not None
                else self._said(generated[row])
                for row, query in enumerate(queries)
            ]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets → [N]; texts that several targets share are run once."""
        return self.scores_from(self.begin(A, rest), targets)

    def begin(self, A: Tensor, rest: Any = None) -> Any:
        """A [M, K, h, w] → the decoder's state before START."""
        self.refuse_training()
        with rnn_backward_allowed(A.device):
            return self.decoder.start(self._own(A, rest).clone())  # a decoder may work in place

    def scores_from(self, state: Any, targets: Sequence[Target]) -> Tensor:
        """A state of M rows and N targets, each naming its row → [N]."""
        texts: dict[tuple[int, tuple[int, ...]], int] = {}
        numbers = [texts.setdefault((target.row, target.tokens), len(texts)) for target in targets]
        reads = Reads.of(targets)
        count = max((len(tensor) for tensor in tensors(state)), default=0)
        with rnn_backward_allowed(device_of(state)):
            states = take_if_needed(state, [row for row, _ in texts], count)
            pairs = [(numbers[n], step) for n, step in reads.pairs]
            hidden = hidden_states(self.decoder, states, [(self.start, *tokens) for _, tokens in texts], pairs)
            return reads.combine(logits_of(self.decoder, hidden))

    def rather(self, prediction: Prediction, position: int, other: str) -> Word:
        """Word ``position`` of a caption against another entry of the vocabulary; see `vlx.probes.contrast.Contrasts`.

        Raises UnknownWords for a word that the vocabulary lacks, InputError for one of several entries.
        """
        word = prediction.words[position]
        token = self.writing.entry(other)
        return contrasted_word(word, self.vocabulary[token], (replace(word.terms[0], token=token),))

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What the CNN and the decoder say in a plain loop, one word at a time; see `vlx.protocol.stocked.Stocked`."""
        pictures = self.place(self.prepare(image)[None])
        with torch.no_grad():
            tokens, logits = said_alone(self.cnn, self.decoder, pictures, self.start, self.max_words)
        ends = [n for n, token in enumerate(tokens) if token == self.end]
        return Said.of(logits, tokens[: ends[0] if ends else len(tokens)])

    def read(self, caption: str) -> Read:
        """A caption as the vocabulary's entries.

        Raises InputError for an empty or endless caption, one that holds START, END or padding inside, and where it is
        open how it is cut; UnknownWords when there is no ``unknown`` token.
        """
        return self.writing.read(caption, "caption", max(LONGEST_FORCED, self.max_words))

    def tokens(self, caption: str) -> tuple[list[str], list[int], list[str]]:
        """A caption's words, their token ids, and the words scored as ``unknown``; see `read`."""
        read = self.read(caption)
        return list(read.labels), list(read.ids), read.unknown

    def _check_state(self, features: Features) -> None:
        """Once: see `check_state`."""
        if self._checked:
            return
        A, rest = features.A[:1], nested(lambda tensor: tensor[:1], features.rest)

        def begun(count: int) -> Any:
            return self.decoder.start(self._own(A.repeat(count, 1, 1, 1), rest))

        check_state(self.decoder, begun, self.start, self.name)
        self._checked = True

    def _generate(self, state: Any, queries: Sequence[Query]) -> dict[int, Generated]:
        """Captions by row, for the queries that force none."""
        free = [row for row, query in enumerate(queries) if query.caption is None]
        single = [row for row in free if queries[row].beams == 1]
        captions: dict[int, Generated] = {}
        if single:
            states = take_if_needed(state, single, len(queries))
            plain = greedy(self.decoder, states, len(single), self.start, self.end, self.max_words)
            captions.update(zip(single, plain, strict=True))
        for row in set(free) - set(single):
            captions[row] = beam(
                self.decoder, take(state, [row]), self.start, self.end, self.max_words, queries[row].beams
            )
        return captions

    def _said(self, generated: Generated) -> Prediction:
        self._check_logprobs(generated.logprobs)
        tokens = generated.tokens
        labels = tuple(self.vocabulary[token] for token in tokens)
        text, notes = self.writing.said(tokens)
        if not labels:
            notes = (*notes, "the model ended its caption before the first word")
        if self.end is not None and len(generated.logprobs) == len(tokens):
            notes = (*notes, f"cut after {len(labels)} words (max_words): the model had not ended its caption")
        return self._prediction(Read(labels, tokens, frozenset(), text, notes), generated.logprobs, forced=False)

    def _forced(self, caption: str, state: Any) -> Prediction:
        read = self.read(caption)
        pairs = [(0, step) for step in range(len(read.ids))]
        hidden = hidden_states(self.decoder, state, [(self.start, *read.ids)], pairs)
        logprobs = logits_of(self.decoder, hidden).log_softmax(-1)
        if read.missing:
            words = shortened(", ".join(read.unknown), 200)
            note = f"scored as {self.vocabulary[self.unknown or 0]}, not in the vocabulary: {words}"
            read = replace(read, notes=(note, *read.notes))
        return self._prediction(read, logprobs, forced=True)

    def _prediction(self, read: Read, logprobs: Tensor, *, forced: bool) -> Prediction:
        self._check_logprobs(logprobs)
        top = logprobs.float().topk(min(ALTERNATIVES, logprobs.shape[-1])) if read.ids else None
        words = []
        for step, (label, token) in enumerate(zip(read.labels, read.ids, strict=True)):
            assert top is not None
            ranked = zip(top.indices[step].tolist(), top.values[step].tolist(), strict=True)
            others = tuple(Alternative(self.vocabulary[other], other, value) for other, value in ranked)
            told = (f"not in the vocabulary; scored as {self.vocabulary[token]}",) if step in read.missing else ()
            word = Word(label, (Term(step, token),), float(logprobs[step, token]), others, told)
            words.append(replace(word, choices=len(self.vocabulary)))
        return Prediction(read.text, tuple(words), read.ids, forced, read.notes, **CAPTION)

    def _check_logprobs(self, logprobs: Tensor) -> None:
        if logprobs.shape[-1] != len(self.vocabulary):
            raise ModelError(
                f"{self.name}: the decoder gives {logprobs.shape[-1]} logits, the vocabulary has "
                f"{len(self.vocabulary)} words; they must agree (a step that gives hidden states needs logits(hidden))"
            )
        if not torch.isfinite(logprobs.logsumexp(-1)).all():
            raise ModelError(f"{self.name}: the decoder gives NaN; check its weights")


def take_if_needed(state: Any, rows: Sequence[int], count: int) -> Any:
    """The given rows of a state of ``count`` rows; the state itself when that is what they are."""
    return state if list(rows) == list(range(count)) else take(state, rows)


def _check(decoder: Decoder, vocabulary: Sequence[str], special: dict[str, int | None], max_words: int) -> None:
    lacking = [name for name in ("start", "step") if not callable(getattr(decoder, name, None))]
    if lacking:
        raise ModelError(
            f"the decoder ({type(decoder).__name__}) has no {' and no '.join(lacking)}; "
            "needed are start(A) → state and step(tokens, state) → (hidden, state)"
        )
    if isinstance(vocabulary, Mapping):
        raise InputError(
            "the vocabulary is a dict; give the words by token id, e.g. sorted(vocabulary, key=vocabulary.get)"
        )
    if not vocabulary or isinstance(vocabulary, str) or not all(isinstance(word, str) for word in vocabulary):
        raise InputError("the vocabulary must be a list of words (str), one a token id")
    for name, token in special.items():
        if token is not None and not 0 <= token < len(vocabulary):
            raise InputError(f"{name}={token} is not a token id of a vocabulary of {len(vocabulary)} words")
    if max_words < 1:
        raise InputError(f"max_words={max_words}; a caption needs at least one word")


def looked(task: CnnLstmCaptioner, features: Features, tokens: Sequence[int]) -> Tensor | None:
    """The weights of the cells at every step of a forced text about one picture, [T, h, w]; each adds up to 1.

    None for a decoder whose state does not end in such weights, [B, h · w], as attention decoders' states do here.
    """
    h, w = features.A.shape[2:]
    weights = []
    with torch.no_grad():
        state = task.begin(features.A, features.rest)
        device = device_of(state)
        for token in (task.start, *tokens[:-1]):
            _, state = task.decoder.step(torch.tensor([token], device=device), state)
            last = state[-1] if isinstance(state, tuple | list) and state else None
            if not isinstance(last, Tensor) or not _weighs(last, h * w):
                return None
            weights.append(last[0].reshape(h, w))
    return torch.stack(weights) if weights else None


def _weighs(last: Tensor, cells: int) -> bool:
    """Whether a part of the state is a share for every cell."""
    return tuple(last.shape) == (1, cells) and bool((last >= 0).all()) and abs(float(last.sum()) - 1) < WHOLE
