"""`ChatTask`: models that read a picture as tokens of their text and answer with a text; a family is a row of data.

A is what the projector hands to the text, and is given back to the untouched model's own ``forward`` and ``generate``
(``mm_encoder_outputs``): nothing is copied, hooked or merged by hand. Marks, separators, token types and the chat
template are the processor's; what is answered is put behind them, and is never made into tokens twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.protocol.powers import Attended
from vlx.protocol.readout import ReadOut
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Prediction, Query, Reads, Target, Word
from vlx.protocol.task import Defaults, Features
from vlx.tasks.huggingface import lens, stock
from vlx.tasks.huggingface.chat_crops import pictures_of
from vlx.tasks.huggingface.chat_families import CHAT, ChatFamily
from vlx.tasks.huggingface.chat_pictures import Whole
from vlx.tasks.huggingface.given_back import Handed, counts_of, explicit_positions, generating, tokens_of
from vlx.tasks.huggingface.greedy import plainly, switched_off
from vlx.tasks.huggingface.limits import Limit
from vlx.tasks.huggingface.prompting import Prompt, Prompting, Tokens, put
from vlx.tasks.huggingface.row_reads import attend_by_rows
from vlx.tasks.huggingface.rows import Text
from vlx.tasks.huggingface.texts import check_length, exact, filled, packed, padded, unpacked
from vlx.tasks.huggingface.twin import first_blocks
from vlx.tasks.huggingface.vision import TransformerTask, check_features, unbound
from vlx.tasks.huggingface.weights import differentiable, refuse_gradients
from vlx.tasks.huggingface.writing import ChatWriting
from vlx.tasks.shared.devices import home_of

LONGEST = 60  # tokens that are generated at most
ENDLESS = 2**20  # tokens of a model whose configuration tells no limit

DEFAULTS = Defaults("gradattention", "logprob", "batched")


class Run(NamedTuple):
    """One text about one row of A: the question and the answer behind it."""

    row: int
    question: Prompt
    answer: Tokens

    @property
    def asked(self) -> Tokens:
        """The ids of the question."""
        return self.question.tokens


class ChatTask(TransformerTask):
    """A chat model of transformers: a question about a picture, answered with a text of which every word is explained.

    A target's tokens are the question's ids, then what stands beside them (`Prompt`), then the answer (of a contrast
    both answers); its steps count from the first of them. ``kind`` is a label for people, "vqa" or "captioning".

    ``prompting`` and ``pictures``: how its questions and its pictures come to it; see `adapter`, which finds out.
    ``limit``: what its processor was set to let through of a picture.
    """

    attends_by_rows = True

    def __init__(
        self,
        model: nn.Module,
        prompting: Prompting,
        pictures: Whole,
        *,
        name: str,
        revision: str | None = None,
        longest: int = LONGEST,
        kind: str = "vqa",
        limit: Limit | None = None,
    ) -> None:
        super().__init__(
            model,
            prompting.processor.image_processor,
            prompting.tokenizer,
            name=name,
            revision=revision,
            prepare=pictures.prepare,
            blank=pictures.blank,
        )
        self.prompting, self.pictures, self.family, self.longest = prompting, pictures, prompting.family, longest
        self.kind, self.layer = kind, self.family.parts[-1]
        self.defaults = DEFAULTS if differentiable(model) else replace(DEFAULTS, method="occlusion")
        self.writing = ChatWriting(self.tokenizer, name, "answer", prompting.marks)
        self.limit = limit
        self._handed: Handed | None = None

    def vision(self) -> Sequence[nn.Module]:
        """The modules from the picture to A: inputs go where they are, whatever precision the text half is in."""
        return [self.model.get_submodule(part) for part in self.family.parts]

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, 3, H, W] → the projected image tokens [B, K, h, w], of several crops [B, K, 1, T].

        Without a graph. Raises ModelError in training mode, for tokens that make no grid, and for NaN.
        """
        self.refuse_training()
        with torch.inference_mode(False), torch.no_grad():
            A, counts = self._looked(self.model, unbound(inputs))
        check_features(A, self.name, self.layer)
        grid = self.pictures.grid(A, (inputs.shape[-2], inputs.shape[-1]), counts)
        return Features({self.layer: A}, self.layer, grid)

    def shallow(self, inputs: Tensor) -> Tensor:
        """Pictures → A as it would be if each tower were its first block alone; see `vlx.protocol.powers.Shallow`."""
        with torch.inference_mode(False), torch.no_grad():
            return self._looked(first_blocks(self.model, self.vision()), unbound(inputs))[0]

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The answer to each query's question, generated from the features that there are, or the query's own.

        Greedy search or, with ``beams`` above 1, beam search. ``answer`` and ``caption`` are two words for a text that
        the model is made to say, ``prompt`` is how it begins. Without a question a description is asked for.

        Raises InputError for texts that are too long or hold special tokens, and for ``instead_of`` without a word.
        """
        with torch.inference_mode(False), torch.no_grad():
            seen = self._whole(features.A, features.rest)
            return [
                self._predicted(seen[row : row + 1], features.grid.size, query) for row, query in enumerate(queries)
            ]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets → [N]; texts that several targets share are run once."""
        self.refuse_training()
        if A.requires_grad:
            refuse_gradients(self.model, self.name)
        reads = Reads.of(targets)
        read = [self._placed(targets[n], step) for n, step in reads.pairs]
        last: dict[Run, int] = {}
        for run, place in read:
            last[run] = max(last.get(run, 0), place)
        number = {run: n for n, run in enumerate(last)}
        first = min(self._before(run.question) for run in last) - 1
        runs = [run._replace(answer=run.answer[:stop]) for run, stop in last.items()]
        logits = self._logits(self._whole(A, rest), runs, first)
        places = [self._before(run.question) - 1 - first + place for run, place in read]
        return reads.combine(exact(logits[[number[run] for run, _ in read], places]))

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        """As `scores`, and what each word's own row looked at; see `vlx.protocol.powers.Attends`."""
        self.refuse_training()
        refuse_gradients(self.model, self.name)

        def text(run: Run, first: int, last: int) -> Text:
            inputs = self._inputs(A, [run._replace(answer=run.answer[:last])])
            return Text(inputs, len(run.question.tokens) - 1 + first)

        shape = (A.shape[-2], A.shape[-1])
        return attend_by_rows(self.model, targets, self._placed, text, self._mark, shape)

    def read_out(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> list[list[ReadOut]]:
        """What each term's token reads at the picture's positions; see `vlx.protocol.readout.ReadsOut`."""
        self.refuse_training()

        def logits(run: Run, first: int) -> Tensor:
            return self._logits(A, [run], first)[0]

        h, w = A.shape[-2:]
        return lens.read_out(targets, (h, w), self._mark, self._placed, logits)

    def picture_notes(self, image: Image.Image) -> tuple[str, ...]:
        """That a picture is shrunk, where its processor was told to; see `vlx.protocol.powers.NotesPictures`."""
        return () if self.limit is None else self.limit.told(image.size)

    def rather(self, prediction: Prediction, position: int, other: str) -> Word:
        """Word ``position`` of an answer against another, of all its tokens; see `vlx.probes.contrast.Contrasts`."""
        room = self._context - self._before(Prompt(unpacked(prediction.tokens)[0]))
        return self.writing.rather(prediction, position, other, room)

    def given(self, image: Image.Image, query: Query) -> dict[str, Tensor]:
        """What the untouched model takes: all that its processor makes of a picture and a question.

        Past ``prompting``, which is tested by it.
        """
        made = put(self.prompting.processor, self.family, image, query.question)
        return stock.taken(self.model, self.vision(), made)

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What transformers' own ``generate`` answers; see `vlx.protocol.stocked.Stocked`."""
        with generating(self.model):
            return stock.caption(self.model, self.given(image, query), self.longest)

    @property
    def _mark(self) -> int:
        """The token that stands for one of the picture's."""
        config: Any = self.model.config
        mark = getattr(config, "image_token_id", None)
        return int(config.image_token_index if mark is None else mark)

    @property
    def _context(self) -> int:
        """The most tokens of a question and an answer."""
        config: Any = self.model.config
        return int(getattr(config.get_text_config(), "max_position_embeddings", None) or ENDLESS)

    def _whole(self, A: Tensor, rest: Any) -> Tensor:
        """All that the text takes of the picture: A and what of the vision part's tokens is beside it."""
        return A

    def _before(self, question: Prompt) -> int:
        """How many tokens stand before an answer where it is written."""
        return len(question.tokens)

    @property
    def _reader(self) -> Any:
        """The network that takes what `_whole` gives as the picture."""
        return self.model

    @property
    def _writer(self) -> Any:
        """The part of the model whose ``generation_config`` counts."""
        return self.model

    def _looked(self, model: Any, inputs: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """A of pictures [B, …] by the model's own ``get_image_features``, and how many tokens each crop has."""
        look, tokens = model.base_model.get_image_features, []
        counts: tuple[int, ...] = ()
        for made in self.pictures.inputs(inputs, tuple(signature(look).parameters)):
            seen = look(**stock.placed(made, home_of(self.vision()), inputs.device), return_dict=True)
            self._handed, counts = self._handed or Handed.of(seen), counts_of(seen)
            tokens.append(tokens_of(seen, len(inputs) if self.pictures.sees else 1))
        A = self.pictures.laid(torch.cat(tokens), (inputs.shape[-2], inputs.shape[-1]), self.name)
        return A, counts

    def _predicted(self, A: Tensor, size: tuple[int, int], query: Query) -> Prediction:
        if query.instead_of is not None:
            raise InputError(
                f"{self.name} answers with a text: name the word of it that is compared, too: instead_of="
                f"{{'dog': {query.instead_of[:40]!r}}}"
            )
        if query.answer is not None and query.caption is not None:
            raise InputError("answer and caption are two names for the text that is explained; give one of them")
        question = self._question(query, size, A)
        spelled = partial(self.prompting.spelled, query, size)
        asked = self._before(question)
        begun, room = self.writing.begun(query, spelled), self._context - asked
        wished = query.caption if query.answer is None else query.answer
        if wished is not None:
            text = self.writing.forced(query, wished, spelled)
            check_length(asked + len(begun) + len(text), self._context, "question with its answer", self.name)
            logprobs = self._forced(A, question, begun + text)
        else:
            check_length(asked + len(begun) + 1, self._context, "question", self.name)
            text, logprobs = self._generated(A, question, begun, query.beams, min(self.longest, room - len(begun)))
        before = packed(question.tokens, *question.beside, ())
        prediction = self.writing.prediction(begun, text, logprobs, forced=wished is not None, before=before)
        if wished is None:
            prediction = replace(prediction, notes=(*prediction.notes, *switched_off(self._writer, query.beams)))
        if query.question is not None:
            return replace(prediction, question=True)
        told = f"no question was asked; the model was told: {self.family.describe or 'nothing, so that it describes'}"
        return replace(prediction, notes=(told, *prediction.notes))

    def _question(self, query: Query, size: tuple[int, int], A: Tensor) -> Prompt:
        """A question as the processor puts it beside a picture of ``size`` (H, W), which A is of."""
        question = self.prompting.question(query, size)
        marks, tokens = self._marks(question), self._tokens(A)
        if marks != tokens:
            raise ModelError(
                f"{self.name}: its processor leaves {marks} places for a picture of which the model makes {tokens} "
                "tokens; take the processor of the same repository"
            )
        return question

    def _marks(self, question: Prompt) -> int:
        """How many places for tokens of the picture are in a question."""
        return question.tokens.count(self._mark)

    def _tokens(self, A: Tensor) -> int:
        """How many tokens the text gets of one picture."""
        return A[0, 0].numel()

    def _forced(self, A: Tensor, question: Prompt, text: Tokens) -> Tensor:
        """Log-probabilities [L + 1, V] of what comes next at every place of an answer, its END included."""
        logits = self._logits(A, [Run(0, question, text)], self._before(question) - 1)
        return exact(logits[0]).log_softmax(-1)

    def _generated(self, A: Tensor, question: Prompt, begun: Tokens, beams: int, longest: int) -> tuple[Tokens, Tensor]:
        """The tokens that generation adds, without END, and the log-probabilities at all steps of the answer.

        Those of a beam search are taken again under teacher forcing: a beam's own are scattered over the beams.
        """
        self.refuse_training()
        written = self._written(self._inputs(A, [Run(0, question, begun)]), plainly(longest, beams))
        tokens = tuple(written.sequences[0, self._before(question) + len(begun) :].tolist())
        ends = self._writer.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        text = tokens[: next((n for n, token in enumerate(tokens) if token in ends), len(tokens))]
        if beams > 1:
            return text, self._forced(A, question, begun + text)
        said = exact(torch.cat(written.logits)).log_softmax(-1)
        return text, torch.cat([said.new_zeros(len(begun), said.shape[1]), said])

    def _written(self, inputs: dict[str, Any], options: dict[str, Any]) -> Any:
        """What transformers' ``generate`` gives."""
        with generating(self.model):
            return self._reader.generate(**inputs, **options)

    def _placed(self, target: Target, step: int) -> tuple[Run, int]:
        """The text that a step of a target lies in, and its place in the answer there."""
        texts, beside = unpacked(target.tokens), 1 + len(self.prompting.beside)
        first = sum(len(text) + 1 for text in texts[:beside])
        for text in texts[beside:]:
            if first <= step <= first + len(text):
                question = Prompt(texts[0], tuple(texts[1:beside]))
                return Run(target.row, question, text), step - first
            first += len(text) + 1
        raise IndexError(f"step {step} of {len(target.tokens)} tokens is in no answer")

    def _logits(self, A: Tensor, runs: Sequence[Run], first: int) -> Tensor:
        """The logits [R, …, V] of R texts about rows of A, from place ``first`` on."""
        inputs = explicit_positions(self.model, self._inputs(A, runs))
        kept = inputs["input_ids"].shape[1] - first
        logits: Tensor = self._reader(**inputs, use_cache=False, logits_to_keep=kept).logits
        return logits

    def _inputs(self, A: Tensor, runs: Sequence[Run]) -> dict[str, Any]:
        """What ``forward`` and ``generate`` take of R texts about rows of A [M, K, h, w], padded behind."""
        own = [run.row for run in runs]
        seen = (A if own == list(range(len(A))) else A[own]).flatten(2).transpose(1, 2)
        inputs = self._texts([(run.question, run.answer) for run in runs], A.device)
        inputs["mm_encoder_outputs"] = {"image": self._form(A).back(seen)}
        for name, value in self.pictures.beside(A).items():
            inputs[name] = value.repeat(len(runs), 1)
        return inputs

    def _texts(self, texts: Sequence[tuple[Prompt, Tokens]], device: torch.device) -> dict[str, Any]:
        """What ``forward`` takes of R questions with what stands behind them: ids, mask, and what is beside them."""
        rows = [(*question.tokens, *answer) for question, answer in texts]
        inputs: dict[str, Any] = {"input_ids": padded(rows, device), "attention_mask": filled(rows, device)}
        for place, name in enumerate(self.prompting.beside):
            if name in self.family.apart:
                rows = [question.beside[place] for question, _ in texts]
                inputs[self.family.apart[name]] = filled(rows, device)
            else:
                number = self.family.fill.get(name, 0)
                rows = [(*question.beside[place], *(number for _ in answer)) for question, answer in texts]
            inputs[name] = padded(rows, device)
        return inputs

    def _form(self, A: Tensor) -> Handed:
        """The form in which the model's vision part hands on its tokens; found out once."""
        if self._handed is None:
            with torch.inference_mode(False), torch.no_grad():
                self._looked(self.model, self.place(self.prepare(Image.new("RGB", (64, 64)))[None]))
        if self._handed is None:
            raise ModelError(f"{self.name}: its vision part gives nothing of a picture")
        return self._handed


class SeeingChatTask(ChatTask):
    """A chat model that sees one picture as it is prepared: A has a graph back to it (`vlx.protocol.powers.Sees`)."""

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] → A as `features` gives it, with a graph where gradients are on."""
        self.refuse_training()
        if inputs.requires_grad:
            refuse_gradients(self.model, self.name)
        return self._looked(self.model, inputs)[0]


def adapter(model: nn.Module, processor: Any, *, name: str, family: ChatFamily | None = None, **named: Any) -> ChatTask:
    """A chat model and its processor as a task, by the row of its family; ``named`` as for `ChatTask`.

    Raises ModelError for a processor without a chat template.
    """
    config: Any = model.config
    prompting = Prompting(processor, family or CHAT[config.model_type], name)
    pictures = pictures_of(prompting.made, processor, model)
    return (SeeingChatTask if pictures.sees else ChatTask)(model, prompting, pictures, name=name, **named)
