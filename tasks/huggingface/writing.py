"""What a model of transformers wrote, or was made to write, as a prediction: its words, their tokens, other words."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlx.errors import ModelError
from vlx.language import REASONING
from vlx.probes.contrast import contrasted_word
from vlx.protocol.targets import CAPTION, Prediction, Query, Term, Word
from vlx.tasks.huggingface.reasoning import opened
from vlx.tasks.huggingface.texts import check_length, in_place, likeliest, packed, unpacked, written
from vlx.tasks.huggingface.words import ReadText, read

Tokens = tuple[int, ...]
Spelled = Callable[[str], Tokens]


@dataclass(frozen=True)
class ChatWriting:
    """How one model's texts are read: its ``tokenizer``, its ``name``, and ``what`` its texts are ("caption").

    ``marks``: of pictures and videos, which no text of a user may hold.

    >>> Writing(tokenizer, "blip", "caption").begun(Query(prompt="a photo of"))
    (64, 3746, 97)
    """

    tokenizer: Any
    name: str
    what: str
    marks: tuple[str, ...] = ()

    def begun(self, query: Query, spelled: Spelled | None = None) -> Tokens:
        """The tokens of the query's ``prompt``, with which the text begins; none where there is none.

        ``spelled``: a text as the model would write it where it stands; by default as the tokenizer writes it alone.
        """
        if query.prompt is None:
            return ()
        text = query.prompt.rstrip()
        tokens = written(self.tokenizer, text, "prompt", self.name, self.marks)
        return tokens if spelled is None else spelled(text)

    def forced(self, query: Query, text: str, spelled: Spelled | None = None) -> Tokens:
        """The tokens of a text that the model is made to write, behind the query's prompt; ``spelled`` as for `begun`.

        Behind a prompt a space may belong to a token. Raises as `written`; marks of reasoning may be special tokens.
        """
        tokens, begun = self._written(text), self.begun(query, spelled)
        if REASONING.search(text):
            spelled = None  # chat templates take reasoning out, or write it in their own way
        spell = spelled or self._alone
        if query.prompt is not None:
            whole = spell(f"{query.prompt.rstrip()} {text.lstrip()}")
            return whole[len(begun) :] if whole[: len(begun)] == begun else tokens
        return tokens if spelled is None else spelled(text)

    def prediction(
        self, begun: Tokens, text: Tokens, logprobs: Tensor, *, forced: bool, before: Tokens = ()
    ) -> Prediction:
        """What was written as words: ``text`` behind ``begun``; what begins it is not explained.

        ``logprobs`` [≥ begun + text, V]: those of every token at its place. ``before``: tokens that stand before the
        text in the prediction's, such as the question's. Raises ModelError for NaN.
        """
        if not torch.isfinite(logprobs.logsumexp(-1)).all():
            raise ModelError(f"{self.name}: the model gives NaN; check its weights and dtype")
        tokens = begun + text
        found = read(self.tokenizer, tokens, opened(self.tokenizer, unpacked(before)[0]))
        told = zip(found.words, found.reasoning, strict=True)
        meant = [(label, places, inside) for (label, places), inside in told if places[0] >= len(begun)]
        notes, cut = [], not forced and len(logprobs) <= len(tokens)
        if begun:
            start = self.tokenizer.decode(list(begun)).strip()
            notes.append(f"the model was given how the {self.what} begins: {start}")
        if not meant and not cut:
            notes.append(f"the model ended its {self.what} before the first word")
        elif meant and all(inside for *_, inside in meant):
            notes.append(self._only_reasoning(found, "given" if forced else "cut" if cut else "ended"))
        if cut:
            notes.append(f"cut after {len(text)} tokens: the model had not ended its {self.what}")
        return Prediction(
            found.text,
            tuple(
                replace(self._word(label, places, tokens, logprobs, len(before)), reasoning=inside)
                for label, places, inside in meant
            ),
            before + tokens,
            forced,
            tuple(notes),
            start=len(before),
            **CAPTION,
        )

    def rather(self, prediction: Prediction, position: int, other: str, longest: int) -> Word:
        """Word ``position`` of a text against another word, of all its tokens; see `vlx.probes.contrast.Contrasts`.

        Raises InputError as `in_place`, and for a text of more than ``longest`` tokens.
        """
        word, start = prediction.words[position], prediction.start
        said, first = tuple(term.token for term in word.terms), word.terms[0].step
        before = prediction.tokens[start:first]
        tokens = in_place(self.tokenizer, before, (word.label, said), other, self.name, self.marks)
        check_length(len(before) + len(tokens), longest, self.what, self.name)
        terms = tuple(Term(first + n, token) for n, token in enumerate(tokens))
        label = self.tokenizer.decode(list(tokens)).strip() or other
        if len(tokens) == 1:  # read where the word itself is
            return contrasted_word(word, label, terms)
        text, after = (*before, *tokens), len(prediction.tokens) + 1
        there = tuple(replace(term, step=after + term.step - start) for term in terms)
        alone = (*prediction.tokens[:first], *tokens)
        return contrasted_word(word, label, terms, alone, joint=(there, packed(prediction.tokens, text)))

    def _written(self, text: str) -> Tokens:
        """A user's text as tokens, marks of reasoning with it. Raises as `written` for the rest of it."""
        tokens = written(self.tokenizer, REASONING.sub(" ", text), self.what, self.name, self.marks)
        return self._alone(text) if REASONING.search(text) else tokens

    def _only_reasoning(self, found: ReadText, how: str) -> str:
        """That a text has no word outside of its reasoning, and why: of one that was "given", "cut", or has "ended"."""
        if not found.cut:
            return f"the {self.what} is only reasoning: nothing follows it"
        why = {
            "given": "it begins within, and no mark as </think> ends it",
            "cut": f"it was cut within, and there is no {self.what} yet",
            "ended": "the model ended within",
        }
        return f"the {self.what} is only reasoning, which has no end: {why[how]}"

    def _alone(self, text: str) -> Tokens:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _word(self, label: str, places: tuple[int, ...], tokens: Tokens, logprobs: Tensor, start: int) -> Word:
        terms = tuple(Term(start + place, tokens[place]) for place in places)
        total = sum(float(logprobs[place, tokens[place]]) for place in places)
        likely = likeliest(self.tokenizer, logprobs[places[0]])
        return Word(label, terms, total, likely, choices=logprobs.shape[-1])
