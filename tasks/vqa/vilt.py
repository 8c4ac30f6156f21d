"""ViLT: one stream of words and patches. The feature map is what the patches hold after they have met the question."""

from collections.abc import Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.placement import Grid
from vlx.protocol.powers import Attended
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Prediction, Query, Reads, Target
from vlx.protocol.task import Defaults, Features
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.texts import exact
from vlx.tasks.huggingface.twin import Twin
from vlx.tasks.huggingface.vision import PATCHES, TransformerTask, check_features, unbound
from vlx.tasks.shared.answers import Answers, answered
from vlx.tasks.vqa.questions import Questions, Runs

EMBEDDINGS = "vilt.embeddings"
BLOCKS = "vilt.encoder.layer"

_drawing = Lock()  # random state belongs to the process: threads put it back one at a time


class Embedded(nn.Module):
    """Stands for ViLT's embeddings: the tokens come in as the words' embeddings."""

    def forward(
        self,
        input_ids: Any,
        attention_mask: Tensor,
        token_type_ids: Any,
        pixel_values: Any,
        pixel_mask: Any,
        inputs_embeds: Tensor,
        image_embeds: Any,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        """Tokens [R, S, D] and their mask [R, S], as given."""
        return inputs_embeds, attention_mask


class ViltVqa(TransformerTask):
    """A ``ViltForQuestionAnswering``, split behind the last block but one: after the last, only one token is read.

    `features` are the patches' embeddings, which know nothing of the question, in raster order (ViLT itself shuffles
    them in every run); `meet` gives those that have met it, [R, D, h, w], and
    `scores` are taken at them alone.
    """

    kind = "vqa"
    defaults = Defaults("gradrollout", "logit", "batched", measured=True)
    besides: Mapping[str, str] = {"others": "the class token and the words, which have met the picture"}

    def __init__(
        self, model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__(model, processor, tokenizer, name=name, revision=revision)
        config: Any = model.config
        self.block = max(config.num_hidden_layers - 2, 0)
        self.layer = f"{BLOCKS}.{self.block}"
        self.labels = [config.id2label[number] for number in range(config.num_labels)]
        self.questions = Questions(tokenizer, config.max_position_embeddings, name)
        self._whole = Twin(model, {})
        self._behind = Twin(model, {EMBEDDINGS: Embedded()}, change=partial(_cut, first=self.block + 1))

    def vision(self) -> Sequence[nn.Module]:
        """The embeddings and the blocks before A."""
        blocks = [self.model.get_submodule(f"{BLOCKS}.{number}") for number in range(self.block + 1)]
        return [self.model.get_submodule(EMBEDDINGS), *blocks]

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, 3, H, W] → their patches' embeddings [B, D, h, w] in raster order, without a graph.

        Random state is left as it was. Raises ModelError in training mode and for NaN.
        """
        self.refuse_training()
        with torch.inference_mode(False), torch.no_grad():
            tokens, (h, w) = self._embedded(unbound(inputs))
        check_features(tokens, self.name, EMBEDDINGS)
        A = tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, h, w)
        grid = Grid.half_pixel((h, w), (inputs.shape[-2], inputs.shape[-1]), PATCHES)
        return Features({EMBEDDINGS: A}, EMBEDDINGS, grid, {"others": tokens[:, :1]})

    def shallow(self, inputs: Tensor) -> Tensor:
        """Pictures → the patches' embeddings; see `vlx.protocol.powers.Shallow`."""
        return self.features(inputs).A

    def meet(self, features: Features, texts: Sequence[tuple[int, tuple[int, ...]]]) -> Features:
        """Features of B pictures and R pairs (row, question) → those that have met the question, [R, D, h, w].

        ``rest``: the tokens that are no cells, what of the text is no padding, and the picture's embeddings.
        """
        runs = Runs.make(texts, features.A.device)
        image = runs.take(_tokens(features.A, features.rest["others"]))
        output = self._run(runs, image)
        middle, length = output.hidden_states[self.block + 1], runs.ids.shape[1] + 1
        A = _cells(middle[:, length:], features.A)
        rest = {"others": middle[:, :length], "ids": runs.ids, "mask": runs.mask, "image": image}
        return Features({self.layer: A}, self.layer, features.grid, rest)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The likeliest answer to each query's question, or the ``answer`` it names; ``instead_of`` makes a contrast.

        Raises InputError without a question, for one that is too long, and for an answer that there is not.
        """
        asked = [self.questions.asked(query) for query in queries]
        runs = Runs.make(list(enumerate(asked)), features.A.device)
        with torch.inference_mode(False), torch.no_grad():
            image = runs.take(_tokens(features.A, features.rest["others"]))
            logprobs = self._run(runs, image).logits.double().log_softmax(-1).cpu()
        return [
            answered(row, Answers(self.labels, self.name), query, tokens=question)
            for row, query, question in zip(logprobs, queries, asked, strict=True)
        ]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, D, h, w] and rest as `meet` gives them, and N targets → [N]: the last block and the head.

        Raises ModelError for features that have met no text.
        """
        if not isinstance(rest, dict) or "mask" not in rest:
            raise ModelError(
                f"{self.name}: scores are taken at features that have met the question; ask for them by "
                "vlx.protocol.meet(task, features, targets)"
            )
        reads = Reads.of(targets)
        others, mask = (rest[name].expand(len(A), *rest[name].shape[1:]) for name in ("others", "mask"))
        logits = exact(self._tail(A, others, mask).logits)
        return reads.combine(logits[[targets[n].row for n, _ in reads.pairs]])

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        """As `scores`, from the embeddings on, with the attention in all blocks; see `vlx.protocol.powers.Attends`.

        What is read is the class token, so its looking counts.
        """
        rows = list(dict.fromkeys(target.row for target in targets))
        of = tuple(rows.index(target.row) for target in targets)
        runs = Runs(tuple(rows), of, rest["ids"][rows], rest["mask"][rows])
        first = self._run(runs, rest["image"][rows].detach().requires_grad_(), attentions=True)
        middle, length = first.hidden_states[self.block + 1], runs.ids.shape[1] + 1
        met = _cells(middle[:, length:], A)
        last = self._tail(met, middle[:, :length], runs.mask, attentions=True)
        layers = (*first.attentions[: self.block + 1], *last.attentions)
        reads = Reads.of(targets)
        scores = reads.combine(exact(last.logits)[[of[n] for n, _ in reads.pairs]])
        queries = scores.new_zeros(len(targets), layers[0].shape[2])
        queries[:, 0] = 1
        cells = length + torch.arange(A[0, 0].numel(), device=A.device).view(A.shape[-2:])
        return Attended(scores, layers, of, queries, cells, met)

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What the untouched model's ``forward`` says; see `vlx.protocol.stocked.Stocked`."""
        return stock.answer(self.model, self.given(image, query), "logits")

    def shortened(self, question: str, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of the question, and its tokens without it; see `vlx.protocol.powers.Hears`."""
        return self.questions.without_each(tokens)

    def question_gradients(self, A: Tensor, target: Target, rest: Any = None) -> Tensor | None:
        """Gradient × embedding of each word of the question, [words]; A and rest as `features` gives them."""
        runs = Runs.make([(0, target.tokens)], A.device)
        with torch.inference_mode(False), torch.enable_grad():
            embedded = self._whole().get_input_embeddings()(runs.ids).detach().requires_grad_()
            logits = self._run(runs, _tokens(A.clone(), rest["others"]), embedded=embedded).logits
            reads = Reads.of([target])
            (gradient,) = torch.autograd.grad(reads.combine(logits[[0] * len(reads.pairs)]).sum(), embedded)
        products = (gradient * embedded.detach()).float().sum(2)[0]
        return torch.stack([products[list(places)].sum() for _, places in self.questions.words(target.tokens)])

    def _run(self, runs: Runs, image: Tensor, *, attentions: bool = False, embedded: Tensor | None = None) -> Any:
        """The whole model from the picture's embeddings [R, 1 + h·w, D]."""
        self.refuse_training()
        return self._whole()(
            attention_mask=runs.mask,
            image_embeds=image,
            pixel_mask=runs.mask.new_ones(image.shape[:2]),
            output_hidden_states=True,
            output_attentions=attentions,
            **({"input_ids": runs.ids} if embedded is None else {"inputs_embeds": embedded.clone()}),
        )

    def _tail(self, A: Tensor, others: Tensor, mask: Tensor, *, attentions: bool = False) -> Any:
        """The blocks behind A [R, D, h, w] and the head; the other tokens [R, L + 1, D] and the words' mask [R, L]."""
        self.refuse_training()
        states = _tokens(A, others)
        shown = mask.new_ones(len(A), states.shape[1] - mask.shape[1])
        return self._behind()(
            inputs_embeds=states,
            attention_mask=torch.cat([mask, shown], 1),
            image_embeds=states,
            pixel_mask=shown,
            output_attentions=attentions,
        )

    def _embedded(self, inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The class token and the patches [B, 1 + h·w, D] put back in raster order, and (h, w)."""
        embeddings: Any = self.model.get_submodule(EMBEDDINGS)
        mask = torch.ones(inputs.shape[0], *inputs.shape[-2:], dtype=torch.long, device=inputs.device)
        devices = [inputs.device] if inputs.device.type == "cuda" else []
        with _drawing, torch.random.fork_rng(devices=devices):
            tokens, _, (place, (h, w)) = embeddings.visual_embed(inputs, mask, max_image_length=-1)
        raster = place[..., 0] * w + place[..., 1]
        cells = torch.zeros_like(tokens[:, 1:]).scatter(
            1, raster[..., None].expand(-1, -1, tokens.shape[2]), tokens[:, 1:]
        )
        return torch.cat([tokens[:, :1], cells], 1), (h, w)


def _cut(twin: Any, first: int) -> None:
    """Leave only the blocks from number ``first`` on."""
    twin.vilt.encoder.layer = twin.vilt.encoder.layer[first:]


def _cells(tokens: Tensor, like: Tensor) -> Tensor:
    """Tokens [R, h·w, D] → [R, D, h, w], on the grid of ``like``."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *like.shape[-2:])


def _tokens(A: Tensor, others: Tensor) -> Tensor:
    """A [M, D, h, w] and the tokens before it [1 or M, P, D] → [M, P + h·w, D]."""
    return torch.cat([others.to(A).expand(len(A), -1, -1), A.flatten(2).transpose(1, 2)], 1)


def adapter(model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None) -> ViltVqa:
    """A ``ViltForQuestionAnswering`` as a task."""
    return ViltVqa(model, processor, tokenizer, name=name, revision=revision)
