"""`ChatTask`: models that read a picture as tokens of their text and answer with a text; a family is a row of data.

A is what the projector hands to the text, and is given back to the untouched model's own ``forward`` and ``generate``
(``mm_encoder_outputs``): nothing is copied, hooked or merged by hand. Marks, separators, token types and the chat
template are the processor's; what is answered is put behind them, and is never made into tokens twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from vlx.errors import InputError, ModelError
from vlx.pictures.placement import Grid
from vlx.protocol.powers import Said
from vlx.protocol.targets import Prediction, Query, Reads, Target, Word
from vlx.protocol.task import Defaults, Features
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.texts import check_length, exact, packed, padded, unpacked, written
from vlx.tasks.huggingface.vision import PATCHES, TransformerTask, check_features, grid_shape, unbound
from vlx.tasks.huggingface.writing import ChatWriting, Tokens

LONGEST = 60  # tokens that are generated at most
DESCRIBE = "Describe the picture in one sentence."  # what is asked where nobody asks anything

DEFAULTS = Defaults("hirescam", "logprob", "batched")


@dataclass(frozen=True)
class ChatFamily:
    """What one family of chat models does in its own way.

    ``parts``: the modules from the picture to A; the last one hands A to the text. ``fill``: inputs of the text beside
    its ids that have one number a token, each with the number that a token of the answer has; in the question they are
    the processor's. ``handed``: A's tokens [R, T, D] in the form in which ``get_image_features`` gives them.

    >>> ChatFamily(("model.vision_tower", "model.multi_modal_projector"), fill={"token_type_ids": 1})
    """

    parts: tuple[str, ...]
    fill: Mapping[str, int] = field(default_factory=dict)
    handed: Callable[[Tensor], Any] = list
    defaults: Defaults = DEFAULTS


class Run(NamedTuple):
    """One text about one row of A: the question, ids first and what stands beside them after, and the answer."""

    row: int
    question: tuple[Tokens, ...]
    answer: Tokens


class ChatTask(TransformerTask):
    """A chat model of transformers: a question about a picture, answered with a text of which every word is explained.

    A target's tokens are the question's ids, then what ``family.fill`` names, then the answer (of a contrast both
    answers); its steps count from the first of them. ``kind`` is a label for people, "vqa" or "captioning".

    Raises ModelError for a processor without a chat template.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        family: ChatFamily,
        *,
        name: str,
        revision: str | None = None,
        longest: int = LONGEST,
        kind: str = "vqa",
    ) -> None:
        super().__init__(model, processor.image_processor, processor.tokenizer, name=name, revision=revision)
        if not getattr(processor, "chat_template", None):
            raise ModelError(
                f"{name}: its processor has no chat template, so nobody can tell how a question is put to it; take the "
                "processor of the same repository, or set its chat_template as the model's card says"
            )
        self.asking, self.family, self.longest = processor, family, longest
        self.kind, self.layer, self.defaults = kind, family.parts[-1], family.defaults
        self.writing = ChatWriting(self.tokenizer, name, "answer")

    def vision(self) -> Sequence[nn.Module]:
        """The modules from the picture to A: inputs go where they are, whatever precision the text half is in."""
        return [self.model.get_submodule(part) for part in self.family.parts]

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, 3, H, W] → the projected image tokens [B, D, h, w], without a graph.

        Raises ModelError in training mode, for tokens that make no grid, and for NaN.
        """
        with torch.inference_mode(False), torch.no_grad():
            A = self.see(unbound(inputs))
        check_features(A, self.name, self.layer)
        size = (inputs.shape[-2], inputs.shape[-1])
        grid = Grid.half_pixel((A.shape[-2], A.shape[-1]), size, PATCHES)
        return Features({self.layer: A}, self.layer, grid)

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] → A as `features` gives it, with a graph where gradients are on; see `Sees`."""
        self.refuse_training()
        return self._laid(_tokens(self._seen(inputs)), inputs)

    def shallow(self, inputs: Tensor) -> Tensor:
        """Pictures → the tokens after the tower's first block, arranged as A is; see `vlx.protocol.powers.Shallow`.

        Where the projector makes one token of several beside each other, their mean.
        """
        tower: Any = self.model.get_submodule(self.family.parts[0])
        with torch.inference_mode(False), torch.no_grad():
            h, w = self.see(unbound(inputs)).shape[-2:]
            early = tower(unbound(inputs), output_hidden_states=True).hidden_states[1]
            before = early.shape[1] % (h * w)  # class tokens
            return adaptive_avg_pool2d(self._laid(early[:, before:], inputs), (h, w))

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The answer to each query's question, generated from the features that there are, or the query's own.

        Greedy search or, with ``beams`` above 1, beam search. ``answer`` and ``caption`` are two words for a text that
        the model is made to say, ``prompt`` is how it begins. Without a question a description is asked for.

        Raises InputError for texts that are too long or hold special tokens, and for ``instead_of`` without a word.
        """
        with torch.inference_mode(False), torch.no_grad():
            return [
                self._predicted(features.A[row : row + 1], features.grid.size, query)
                for row, query in enumerate(queries)
            ]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, D, h, w] and N targets → [N]; texts that several targets share are run once."""
        self.refuse_training()
        reads = Reads.of(targets)
        read = [self._placed(targets[n], step) for n, step in reads.pairs]
        last: dict[Run, int] = {}
        for run, place in read:
            last[run] = max(last.get(run, 0), place)
        number = {run: n for n, run in enumerate(last)}
        inputs = self._inputs(A, [run._replace(answer=run.answer[:stop]) for run, stop in last.items()])
        first = min(len(run.question[0]) for run in last) - 1
        kept = inputs["input_ids"].shape[1] - first
        logits = self.model(**inputs, use_cache=False, logits_to_keep=kept).logits
        places = [len(run.question[0]) - 1 - first + place for run, place in read]
        return reads.combine(exact(logits[[number[run] for run, _ in read], places]))

    def rather(self, prediction: Prediction, position: int, other: str) -> Word:
        """Word ``position`` of an answer against another, of all its tokens; see `vlx.probes.contrast.Contrasts`."""
        room = self._context - len(unpacked(prediction.tokens)[0])
        return self.writing.rather(prediction, position, other, room)

    def given(self, image: Image.Image, query: Query) -> dict[str, Tensor]:
        """What the untouched model takes: all that its processor makes of a picture and a question."""
        asked = stock.asked(self.asking, image, query.question or DESCRIBE)
        return stock.taken(self.model, asked)

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What transformers' own ``generate`` answers; see `vlx.protocol.powers.Stocked`."""
        return stock.caption(self.model, self.given(image, query), self.longest)

    @property
    def _context(self) -> int:
        """The most tokens of a question and an answer."""
        config: Any = self.model.config
        return int(config.get_text_config().max_position_embeddings)

    def _seen(self, inputs: Tensor) -> Any:
        """What the vision part makes of pictures, by the model's own ``get_image_features``."""
        model: Any = self.model
        return model.base_model.get_image_features(pixel_values=inputs, return_dict=True)

    def _laid(self, tokens: Tensor, inputs: Tensor) -> Tensor:
        """Tokens [B, T, D] in raster order → [B, D, h, w]."""
        h, w = grid_shape(tokens.shape[1], (inputs.shape[-2], inputs.shape[-1]), self.name)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, h, w)

    def _question(self, query: Query, size: tuple[int, int], cells: int) -> tuple[Tokens, ...]:
        """A question as the processor puts it beside a picture of ``size`` (H, W): ids, and what ``fill`` names."""
        if query.question is not None:
            written(self.tokenizer, query.question, "question", self.name)
        asked = stock.asked(self.asking, Image.new("RGB", size[::-1]), query.question or DESCRIBE)
        texts = tuple(tuple(asked[name][0].tolist()) for name in ("input_ids", *self.family.fill))
        config: Any = self.model.config
        marks = texts[0].count(config.image_token_id)
        if marks != cells:
            raise ModelError(
                f"{self.name}: its processor leaves {marks} places for a picture of which the model makes {cells} "
                "tokens; take the processor of the same repository"
            )
        return texts

    def _spelled(self, query: Query, size: tuple[int, int], question: Tokens, text: str) -> Tokens:
        """A text as the template puts it behind the question: there a space may belong to its first token."""
        picture = Image.new("RGB", size[::-1])
        whole = stock.asked(self.asking, picture, query.question or DESCRIBE, text)["input_ids"][0].tolist()
        if tuple(whole[: len(question)]) == question:
            return tuple(whole[len(question) :])
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _predicted(self, A: Tensor, size: tuple[int, int], query: Query) -> Prediction:
        if query.instead_of is not None:
            raise InputError(
                f"{self.name} answers with a text: name the word of it that is compared, too: instead_of="
                f"{{'dog': {query.instead_of[:40]!r}}}"
            )
        if query.answer is not None and query.caption is not None:
            raise InputError("answer and caption are two names for the text that is explained; give one of them")
        question = self._question(query, size, A[0, 0].numel())
        spelled = partial(self._spelled, query, size, question[0])
        begun, room = self.writing.begun(query, spelled), self._context - len(question[0])
        wished = query.caption if query.answer is None else query.answer
        if wished is not None:
            text = self.writing.forced(query, wished, spelled)
            check_length(
                len(question[0]) + len(begun) + len(text), self._context, "question with its answer", self.name
            )
            logprobs = self._forced(A, question, begun + text)
        else:
            check_length(len(question[0]) + len(begun) + 1, self._context, "question", self.name)
            text, logprobs = self._generated(A, question, begun, query.beams, min(self.longest, room - len(begun)))
        before = packed(*question, ())
        prediction = self.writing.prediction(begun, text, logprobs, forced=wished is not None, before=before)
        if query.question is not None:
            return replace(prediction, question=True)
        told = f"no question was asked; the model was told: {DESCRIBE}"
        return replace(prediction, notes=(told, *prediction.notes))

    def _forced(self, A: Tensor, question: tuple[Tokens, ...], text: Tokens) -> Tensor:
        """Log-probabilities [L + 1, V] of what comes next at every place of an answer, its END included."""
        inputs = self._inputs(A, [Run(0, question, text)])
        logits = self.model(**inputs, use_cache=False, logits_to_keep=len(text) + 1).logits
        return exact(logits[0]).log_softmax(-1)

    def _generated(
        self, A: Tensor, question: tuple[Tokens, ...], begun: Tokens, beams: int, longest: int
    ) -> tuple[Tokens, Tensor]:
        """The tokens that generation adds, without END, and the log-probabilities at all steps of the answer.

        Those of a beam search are taken again under teacher forcing: a beam's own are scattered over the beams.
        """
        self.refuse_training()
        model: Any = self.model
        inputs = self._inputs(A, [Run(0, question, begun)])
        options = {"num_beams": beams, "do_sample": False, "max_new_tokens": longest, "num_return_sequences": 1}
        options |= {"return_dict_in_generate": True, "output_logits": beams == 1}
        written = model.generate(**inputs, **options)
        tokens = tuple(written.sequences[0, inputs["input_ids"].shape[1] :].tolist())
        ends = model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        text = tokens[: next((n for n, token in enumerate(tokens) if token in ends), len(tokens))]
        if beams > 1:
            return text, self._forced(A, question, begun + text)
        said = exact(torch.cat(written.logits)).log_softmax(-1)
        return text, torch.cat([said.new_zeros(len(begun), said.shape[1]), said])

    def _placed(self, target: Target, step: int) -> tuple[Run, int]:
        """The text that a step of a target lies in, and its place in the answer there."""
        texts, beside = unpacked(target.tokens), 1 + len(self.family.fill)
        first = sum(len(text) + 1 for text in texts[:beside])
        for text in texts[beside:]:
            if first <= step <= first + len(text):
                return Run(target.row, tuple(texts[:beside]), text), step - first
            first += len(text) + 1
        raise IndexError(f"step {step} of {len(target.tokens)} tokens is in no answer")

    def _inputs(self, A: Tensor, runs: Sequence[Run]) -> dict[str, Any]:
        """What ``forward`` and ``generate`` take of R texts about rows of A [M, D, h, w], padded behind."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        rows = [run.row for run in runs]
        seen = (A if rows == list(range(len(A))) else A[rows]).flatten(2).transpose(1, 2)
        ids = padded([(*run.question[0], *run.answer) for run in runs], A.device)
        lengths = torch.tensor([len(run.question[0]) + len(run.answer) for run in runs])
        inputs: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(A.device),
            "mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=self.family.handed(seen))},
        }
        for place, (name, number) in enumerate(self.family.fill.items(), 1):
            inputs[name] = padded([(*run.question[place], *(number for _ in run.answer)) for run in runs], A.device)
        return inputs


def _tokens(seen: Any) -> Tensor:
    """The projected image tokens [B, T, D]."""
    tokens = seen.pooler_output
    return tokens if isinstance(tokens, Tensor) else torch.stack(list(tokens))


LLAVA = ChatFamily(("model.vision_tower", "model.multi_modal_projector"))


def llava(model: nn.Module, processor: Any, **named: Any) -> ChatTask:
    """A ``LlavaForConditionalGeneration`` of LLaVA-1.5's kind as a task; ``named`` as for `ChatTask`."""
    return ChatTask(model, processor, LLAVA, **named)
