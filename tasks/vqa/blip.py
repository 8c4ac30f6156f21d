"""BLIP for questions: words of the question look at the picture, and a decoder writes the answer from what they saw."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.protocol.powers import Attended
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Alternative, Prediction, Query, Reads, Target, Term, Word
from vlx.protocol.task import Defaults, Features
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.greedy import plainly, switched_off
from vlx.tasks.huggingface.texts import check_length, exact, packed, padded, unpacked, written
from vlx.tasks.huggingface.vision import TransformerVision
from vlx.tasks.vqa.questions import Questions, Runs

LONGEST = 10  # tokens of an answer that is generated, as in BLIP's own code
BEAMS = 6  # answers that are compared


class BlipVqa(TransformerVision):
    """A ``BlipForQuestionAnswering``, split behind its vision tower.

    An answer is a text: its score is that of all its tokens and of the END behind it, so that answers of any length
    compare. A target's tokens are the question, then the answer (of a contrast both answers).
    """

    kind = "vqa"
    defaults = Defaults("gradattention", "logprob", "batched", measured=True)

    def __init__(
        self, model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__(model, processor, tokenizer, tower="vision_model", prefix=1, name=name, revision=revision)
        config: Any = model.config
        self.text = config.text_config
        self.questions = Questions(tokenizer, self.text.max_position_embeddings, name)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The answer to each query's question, generated, or the one it names; ``instead_of`` makes a contrast.

        The alternatives are what a beam search finds. Raises InputError without a question, for texts that are too long
        or hold special tokens, and for an answer that is compared to itself.
        """
        asked = [self.questions.asked(query) for query in queries]
        with torch.inference_mode(False), torch.no_grad():
            tokens = self.hidden(features.A, features.rest)
            return [
                self._predicted(features, row, tokens[row : row + 1], query, question)
                for row, (query, question) in enumerate(zip(queries, asked, strict=True))
            ]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, D, h, w] and N targets → [N]; questions and answers that several targets share are run once."""
        return self._scored(A, targets, rest, False)[0]

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        """As `scores`, with the attention from the words of the question to the picture; see `Attends`."""
        scores, layers, runs = self._scored(A, targets, rest, True)
        queries = runs.mask[list(runs.of)].to(scores)
        return Attended(scores, layers, runs.of, queries, self.cells(A, self.prefix))

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What transformers' own ``generate`` answers; see `vlx.protocol.stocked.Stocked`."""
        tokens, logits = stock.generated(self.model, self.given(image, query), LONGEST)
        return Said.of(logits, tokens)

    def shortened(self, question: str, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of the question, and a target's tokens without it; see `vlx.protocol.powers.Hears`."""
        return self.questions.without_each(tokens)

    def question_gradients(self, A: Tensor, target: Target, rest: Any = None) -> Tensor | None:
        """Gradient × embedding of each word of the target's question at A [1, D, h, w], [words], in its unit."""
        question = unpacked(target.tokens)[0]
        with torch.inference_mode(False), torch.enable_grad():
            table = self.twin().text_encoder.get_input_embeddings()
            embedded = table(padded([question], A.device)).detach().requires_grad_()
            score = self._scored(A.clone(), [target], rest, False, embedded)[0]
            (gradient,) = torch.autograd.grad(score.sum(), embedded)
        products = (gradient * embedded.detach()).float().sum(2)[0]
        return torch.stack([products[list(places)].sum() for _, places in self.questions.words(question)])

    def _scored(
        self,
        A: Tensor,
        targets: Sequence[Target],
        rest: Any,
        attentions: bool,
        embedded: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], Runs]:
        """Scores [N], the layers' attention [R, heads, L, T] and the runs of the questions."""
        self.refuse_training()
        texts = [unpacked(target.tokens) for target in targets]
        heard = Runs.make([(target.row, text[0]) for target, text in zip(targets, texts, strict=True)], A.device)
        seen = heard.take(self.hidden(A, rest))
        output = self.twin().text_encoder(
            attention_mask=heard.mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=heard.mask.new_ones(seen.shape[:2]),
            output_attentions=attentions,
            **({"input_ids": heard.ids} if embedded is None else {"inputs_embeds": embedded.clone()}),
        )
        said = Runs.make(
            [
                (run, (self.text.bos_token_id, *answer))
                for run, text in zip(heard.of, texts, strict=True)
                for answer in text[1:]
            ],
            A.device,
        )
        logits = self._decoded(output.last_hidden_state, heard.mask.sum(1).tolist(), said)
        reads, first = Reads.of(targets), [0]
        for text in texts:
            first.append(first[-1] + len(text) - 1)
        places = [_place(texts[n], step) for n, step in reads.pairs]
        picked = [said.of[first[n] + answer] for (n, _), (answer, _) in zip(reads.pairs, places, strict=True)]
        values = reads.combine(
            exact(torch.stack([logits[run][place] for run, (_, place) in zip(picked, places, strict=True)]))
        )
        return values, output.cross_attentions if attentions else (), heard

    def _decoded(self, hidden: Tensor, lengths: Sequence[int], said: Runs) -> dict[int, Tensor]:
        """Logits [L, V] of each of R answers to questions that were heard as ``hidden`` [Q, L, D].

        Questions of one ``lengths`` are answered together: BLIP's cross-attention in transformers 5 looks at padding.
        """
        groups: dict[int, list[int]] = {}
        for run, row in enumerate(said.rows):
            groups.setdefault(lengths[row], []).append(run)
        logits: dict[int, Tensor] = {}
        for length, own in groups.items():
            ids = said.ids[own]
            decoded = self.twin().text_decoder(
                input_ids=ids,
                attention_mask=ids.new_ones(ids.shape),
                encoder_hidden_states=hidden[[said.rows[run] for run in own], :length],
                use_cache=False,
            )
            logits |= dict(zip(own, decoded.logits, strict=True))
        return logits

    def _predicted(
        self, features: Features, row: int, tokens: Tensor, query: Query, question: tuple[int, ...]
    ) -> Prediction:
        generated, logprob = self._generated(tokens, question, query.beams)
        answers = [generated, *self._beams(tokens, question)]
        if query.answer is not None:
            answers.insert(0, self._written(query.answer, "answer"))
        if query.instead_of is not None:
            answers.insert(1, self._written(query.instead_of, "instead_of"))
            if answers[0] == answers[1]:
                raise InputError(
                    f"instead_of={query.instead_of!r} is the answer that is explained; name another to compare with"
                )
        known = self._alternatives(features, row, question, list(dict.fromkeys(answers)))
        own = known[answers[0]]
        terms, text, sides = own.terms, packed(question, answers[0]), tuple[Alternative, ...]()
        if query.instead_of is not None:
            other = known[answers[1]]
            after = len(answers[0])
            terms += tuple(Term(after + term.step, term.token, -1.0) for term in other.terms)
            text, sides = packed(question, answers[0], answers[1]), (own, other)
        if query.answer is None and query.beams == 1:
            own = Alternative(own.label, own.token, logprob)  # as generation saw it
        likely = sorted(known.values(), key=lambda one: -one.logprob)[:BEAMS]
        return Prediction(
            own.label,
            (Word(own.label, terms, own.logprob, tuple(likely), sides=sides, choices=self.text.vocab_size),),
            text,
            query.answer is not None,
            whole=False,
            rivals=True,
            question=True,
            pieces=False,
            notes=() if query.answer is not None else switched_off(self.model, query.beams),
        )

    def _written(self, answer: str, what: str) -> tuple[int, ...]:
        tokens = written(self.tokenizer, answer, what, self.name)
        check_length(len(tokens) + 2, self.text.max_position_embeddings, what, self.name)
        return (*tokens, self.text.sep_token_id)

    def _generated(self, tokens: Tensor, question: tuple[int, ...], beams: int) -> tuple[tuple[int, ...], float]:
        """The model's answer with its END, and its log-probability as generation saw it (nan after a beam search)."""
        found = self._generate(tokens, question, **plainly(LONGEST, beams))
        answer = self._ended(found.sequences[0, 1:].tolist())
        if beams > 1:
            return answer, float("nan")
        logprobs = exact(torch.cat(found.logits)).log_softmax(-1)
        if not torch.isfinite(logprobs.logsumexp(-1)).all():
            raise ModelError(f"{self.name}: the model gives NaN; check its weights and dtype")
        return answer, sum(float(logprobs[step, token]) for step, token in enumerate(answer))

    def _beams(self, tokens: Tensor, question: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The likeliest answers; no longer one is preferred for its length."""
        all_of_them = {**plainly(LONGEST, BEAMS), "num_return_sequences": BEAMS, "length_penalty": 0.0}
        found = self._generate(tokens, question, **all_of_them)
        return [self._ended(answer) for answer in found.sequences[:, 1:].tolist()]

    def _generate(self, tokens: Tensor, question: tuple[int, ...], **options: Any) -> Any:
        ids = padded([question], tokens.device)
        return self.twin().generate(
            pixel_values=tokens[:, None],
            input_ids=ids,
            attention_mask=ids.new_ones(ids.shape),
            **options,
        )

    def _ended(self, answer: list[int]) -> tuple[int, ...]:
        """The tokens of an answer up to its END, which stays; all where it was cut."""
        end = self.text.sep_token_id
        return tuple(answer[: answer.index(end) + 1] if end in answer else answer)

    def _alternatives(
        self, features: Features, row: int, question: tuple[int, ...], answers: Sequence[tuple[int, ...]]
    ) -> dict[tuple[int, ...], Alternative]:
        """Answers with their log-probabilities under teacher forcing, in one batch."""
        terms = [tuple(Term(step, token) for step, token in enumerate(answer)) for answer in answers]
        texts = [packed(question, answer) for answer in answers]
        targets = [Target(row, "", own, "logprob", text) for own, text in zip(terms, texts, strict=True)]
        values = self.scores(features.A, targets, features.rest).tolist()
        return {
            answer: Alternative(self._label(answer), answer[0], value, own, text)
            for answer, own, text, value in zip(answers, terms, texts, values, strict=True)
        }

    def _label(self, answer: tuple[int, ...]) -> str:
        return str(self.tokenizer.decode(list(answer), skip_special_tokens=True).strip())


def _place(texts: Sequence[tuple[int, ...]], step: int) -> tuple[int, int]:
    """Which of a target's answers a step falls in, and where."""
    for number, answer in enumerate(texts[1:]):
        if step < len(answer):
            return number, step
        step -= len(answer)
    raise IndexError(step)


def adapter(model: nn.Module, processor: Any, tokenizer: Any, *, name: str, revision: str | None = None) -> BlipVqa:
    """A ``BlipForQuestionAnswering`` as a task."""
    return BlipVqa(model, processor, tokenizer, name=name, revision=revision)
