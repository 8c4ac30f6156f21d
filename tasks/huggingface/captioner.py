"""`TransformerCaptioner`: captioners of transformers as tasks; what is particular to a family is data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError
from vlx.protocol.powers import Attended
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Prediction, Query, Reads, Target, Word
from vlx.protocol.task import Defaults, Features
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.greedy import plainly, switched_off
from vlx.tasks.huggingface.texts import check_length, exact, padded, placed
from vlx.tasks.huggingface.vision import TransformerVision
from vlx.tasks.huggingface.writing import ChatWriting

LONGEST = 30  # tokens that are generated at most

Layers = tuple[Tensor, ...]


def _the_first(_count: int) -> int:
    """A text that the picture's tokens do not stand before: its first query is number 0."""
    return 0


@dataclass(frozen=True)
class CaptionerFamily:
    """What one family of captioners does in its own way.

    ``tower``: its vision tower, whose first ``prefix`` tokens are no cells. ``start(model)``: the token before a
    caption; ``end(model)``: those that end it; ``context(model)``: the most tokens of a text, START included.
    ``logits(twin, tokens [R, T, D], ids [R, L], attentions)`` → logits [R, L, V] and the layers' attention
    probabilities [R, heads, queries, keys]; a text's first query is number ``first_query(T)`` of them, the
    picture's first cell key ``prefix``. ``generate(twin, tokens [B, T, D], ids [B, P], options)`` → what transformers'
    ``generate`` gives. ``eager``: see `vlx.tasks.huggingface.twin.Twin`.
    """

    tower: str
    prefix: int
    start: Callable[[Any], int]
    end: Callable[[Any], tuple[int, ...]]
    context: Callable[[Any], int]
    logits: Callable[[Any, Tensor, Tensor, bool], tuple[Tensor, Layers]]
    generate: Callable[[Any, Tensor, Tensor, dict[str, Any]], Any]
    defaults: Defaults
    first_query: Callable[[int], int] = _the_first
    notes: tuple[str, ...] = ()
    eager: str | None = None


@dataclass(frozen=True)
class CaptionReading:
    """The places of one run that a target reads; of a contrast of texts it has a reading of either."""

    target: int
    run: int
    places: tuple[int, ...]


class TransformerCaptioner(TransformerVision):
    """A captioner of transformers, split behind its vision tower: A is what the tower hands to the text.

    Raises ModelError for a tokenizer that has more tokens than the model.
    """

    kind = "captioning"

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        tokenizer: Any,
        family: CaptionerFamily,
        *,
        name: str,
        revision: str | None = None,
        longest: int = LONGEST,
    ) -> None:
        super().__init__(
            model,
            processor,
            tokenizer,
            tower=family.tower,
            prefix=family.prefix,
            name=name,
            revision=revision,
            notes=family.notes,
            eager=family.eager,
        )
        self.family, self.defaults, self.longest = family, family.defaults, longest
        self.writing = ChatWriting(tokenizer, name, "caption")

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """A caption for each of the B pictures: generated, or the query's own when it has one.

        Greedy search or, with ``beams`` above 1, beam search, in either case by transformers' ``generate`` from the
        features that there are. ``prompt`` is how the caption begins; its words are not explained.

        Raises InputError for a question or an answer, and for a text that is too long or holds special tokens.
        """
        if any(query.question or query.answer or query.instead_of for query in queries):
            raise InputError("a captioner takes no question, answer or instead_of; force a text with caption=…")
        with torch.inference_mode(False), torch.no_grad():
            tokens = self.hidden(features.A, features.rest)
            return [self._predicted(tokens[row : row + 1], query) for row, query in enumerate(queries)]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, D, h, w] and N targets → [N]; texts that several targets share are run once."""
        return self._scored(A, targets, rest, False)[0]

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        """As `scores`, with the attention from the text to the picture; see `vlx.protocol.powers.Attends`."""
        scores, layers, readings = self._scored(A, targets, rest, True)
        first = self.family.first_query(self.prefix + A[0, 0].numel())
        queries = scores.new_zeros(len(readings), layers[0].shape[2])
        for reading, marks in zip(readings, queries, strict=True):
            marks[[first + place for place in reading.places]] = 1
        runs, owners = (tuple(getattr(reading, name) for reading in readings) for name in ("run", "target"))
        return Attended(scores, layers, runs, queries, self.cells(A, self.prefix), owners=owners)

    def rather(self, prediction: Prediction, position: int, other: str) -> Word:
        """Word ``position`` of a caption against another, of all its tokens; see `vlx.probes.contrast.Contrasts`."""
        return self.writing.rather(prediction, position, other, self.family.context(self.model) - 1)

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What transformers' own ``generate`` says of a picture; see `vlx.protocol.stocked.Stocked`."""
        longest = min(self.longest, self.family.context(self.model) - 1)
        return stock.caption(self.model, self.given(image, query), longest)

    def _scored(
        self, A: Tensor, targets: Sequence[Target], rest: Any, attentions: bool
    ) -> tuple[Tensor, Layers, list[CaptionReading]]:
        """Scores [N], attention layers [R, …] and what each target reads of the R runs."""
        self.refuse_training()
        steps: dict[tuple[int, tuple[int, ...]], int] = {}
        places: dict[tuple[int, tuple[int, tuple[int, ...]]], list[int]] = {}
        for n, target in enumerate(targets):
            for term in target.terms:
                text, place = placed(target.tokens, term.step)
                steps[target.row, text] = max(steps.get((target.row, text), 0), place)
                places.setdefault((n, (target.row, text)), []).append(place)
        number = {text: run for run, text in enumerate(steps)}
        rows = [row for row, _ in steps]
        hidden = self.hidden(A, rest)
        hidden = hidden if rows == list(range(len(A))) else hidden[rows]
        start = self.family.start(self.model)
        ids = padded([(start, *tokens[:last]) for (_, tokens), last in steps.items()], A.device)
        logits, layers = self.family.logits(self.twin(), hidden, ids, attentions)
        reads = Reads.of(targets)
        read = [(targets[n].row, placed(targets[n].tokens, step)) for n, step in reads.pairs]
        runs, at = [number[row, text] for row, (text, _) in read], [place for _, (_, place) in read]
        readings = [CaptionReading(n, number[text], tuple(steps_read)) for (n, text), steps_read in places.items()]
        return reads.combine(exact(logits[runs, at])), layers, readings

    def _predicted(self, tokens: Tensor, query: Query) -> Prediction:
        """The caption of one picture, from the tower's tokens [1, T, D]."""
        begun, context = self.writing.begun(query), self.family.context(self.model) - 1
        if query.caption is not None:
            text = self.writing.forced(query, query.caption)
            check_length(len(begun) + len(text), context, "caption", self.name)
            return self.writing.prediction(begun, text, self._forced(tokens, begun + text), forced=True)
        check_length(len(begun) + 1, context, "prompt", self.name)
        text, logprobs = self._generated(tokens, begun, query.beams, min(self.longest, context - len(begun)))
        prediction = self.writing.prediction(begun, text, logprobs, forced=False)
        return replace(prediction, notes=(*prediction.notes, *switched_off(self.model, query.beams)))

    def _forced(self, tokens: Tensor, text: tuple[int, ...]) -> Tensor:
        """Log-probabilities [L + 1, V] of what comes next at every place of a text, END included."""
        ids = padded([(self.family.start(self.model), *text)], tokens.device)
        return exact(self.family.logits(self.twin(), tokens, ids, False)[0][0]).log_softmax(-1)

    def _generated(
        self, tokens: Tensor, prompt: tuple[int, ...], beams: int, longest: int
    ) -> tuple[tuple[int, ...], Tensor]:
        """The tokens that generation adds to the prompt, without END, and the log-probabilities at all steps [≥ L, V].

        Those of a beam search are taken again under teacher forcing: a beam's own are scattered over the beams.
        """
        ids = padded([(self.family.start(self.model), *prompt)], tokens.device)
        output = self.family.generate(self.twin(), tokens, ids, plainly(longest, beams))
        text = output.sequences[0, ids.shape[1] :].tolist()
        ends = set(self.family.end(self.model))
        text = tuple(text[: next((n for n, token in enumerate(text) if token in ends), len(text))])
        if beams > 1:
            return text, self._forced(tokens, prompt + text)
        said = exact(torch.cat(output.logits)).log_softmax(-1)
        return text, torch.cat([said.new_zeros(len(prompt), said.shape[1]), said])
