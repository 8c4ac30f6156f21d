"""BLIP image-text matching: does the text say what the picture shows?"""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.protocol.powers import Attended
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Prediction, Query, Reads, Target
from vlx.protocol.task import Defaults, Features
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.texts import exact
from vlx.tasks.huggingface.vision import TransformerVision
from vlx.tasks.shared.answers import Answers, answered
from vlx.tasks.vqa.questions import Questions, Runs

ANSWERS = ("no match", "match")


class BlipMatcher(TransformerVision):
    """A ``BlipForImageTextRetrieval`` with its matching head, split behind its vision tower.

    The text comes as the question, or as the caption that is to be judged; the answers are "match" and "no match".
    """

    kind = "vqa"
    defaults = Defaults("gradattention", "logit", "batched", measured=True)

    def __init__(
        self, model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__(model, processor, tokenizer, tower="vision_model", prefix=1, name=name, revision=revision)
        config: Any = model.config
        self.questions = Questions(tokenizer, config.text_config.max_position_embeddings, name, judged=True)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """Whether each query's text matches its picture, or its ``answer``; ``instead_of`` makes a contrast."""
        asked = [self.questions.asked(query) for query in queries]
        runs = Runs.make(list(enumerate(asked)), features.A.device)
        with torch.inference_mode(False), torch.no_grad():
            logprobs = self._logits(features.A, runs, features.rest, False)[0].double().log_softmax(-1).cpu()
        return [
            answered(row, Answers(ANSWERS, self.name), query, tokens=question)
            for row, query, question in zip(logprobs, queries, asked, strict=True)
        ]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, D, h, w] and N targets → [N]; texts that several targets share are run once."""
        return self._scored(A, targets, rest, False)[0]

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        """As `scores`, with the attention from the words of the text to the picture; see `Attends`."""
        scores, layers, runs = self._scored(A, targets, rest, True)
        queries = runs.mask[list(runs.of)].to(scores)
        return Attended(scores, layers, runs.of, queries, self.cells(A, self.prefix))

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What the untouched model's ``forward`` says; see `vlx.protocol.stocked.Stocked`."""
        return stock.answer(self.model, self.given(image, query), "itm_score")

    def shortened(self, question: str, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of the text, and a target's tokens without it; see `vlx.protocol.powers.Hears`."""
        return self.questions.without_each(tokens)

    def question_gradients(self, A: Tensor, target: Target, rest: Any = None) -> Tensor | None:
        """Gradient × embedding of each word of the target's text at A [1, D, h, w], [words], in the target's unit."""
        runs = Runs.make([(0, target.tokens)], A.device)
        with torch.inference_mode(False), torch.enable_grad():
            embedded = self.twin().text_encoder.get_input_embeddings()(runs.ids).detach().requires_grad_()
            logits = self._logits(A.clone(), runs, rest, False, embedded)[0]
            reads = Reads.of([target])
            (gradient,) = torch.autograd.grad(reads.combine(logits[[0] * len(reads.pairs)]).sum(), embedded)
        products = (gradient * embedded.detach()).float().sum(2)[0]
        return torch.stack([products[list(places)].sum() for _, places in self.questions.words(target.tokens)])

    def _scored(
        self, A: Tensor, targets: Sequence[Target], rest: Any, attentions: bool
    ) -> tuple[Tensor, tuple[Tensor, ...], Runs]:
        runs = Runs.make([(target.row, target.tokens) for target in targets], A.device)
        logits, layers = self._logits(A, runs, rest, attentions)
        reads = Reads.of(targets)
        return reads.combine(logits[[runs.of[n] for n, _ in reads.pairs]]), layers, runs

    def _logits(
        self, A: Tensor, runs: Runs, rest: Any, attentions: bool, embedded: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits [R, 2] of no match and match, and the layers' attention [R, heads, L, T]."""
        self.refuse_training()
        seen, twin = runs.take(self.hidden(A, rest)), self.twin()
        output = twin.text_encoder(
            attention_mask=runs.mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=runs.mask.new_ones(seen.shape[:2]),
            output_attentions=attentions,
            **({"input_ids": runs.ids} if embedded is None else {"inputs_embeds": embedded.clone()}),
        )
        logits = exact(twin.itm_head(output.last_hidden_state[:, 0]))
        return logits, output.cross_attentions if attentions else ()


def adapter(model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None) -> BlipMatcher:
    """A ``BlipForImageTextRetrieval`` as a task."""
    return BlipMatcher(model, processor, tokenizer, name=name, revision=revision)
