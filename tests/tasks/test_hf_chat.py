"""Chat models of transformers: a question, answered with a text of which every word has a map."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

hf = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.cli.test_cli import run  # noqa: E402
from tests.hf import picture  # noqa: E402
from vlx.errors import InputError, ModelError  # noqa: E402
from vlx.methods import engine  # noqa: E402
from vlx.protocol.targets import Prediction, Query, word_target  # noqa: E402
from vlx.selftest.result import SelfTest  # noqa: E402
from vlx.tasks.huggingface.chat import ChatTask, adapter  # noqa: E402
from vlx.tasks.huggingface.chat_families import DESCRIBE, ChatFamily  # noqa: E402
from vlx.tasks.huggingface.loading import load, wrap  # noqa: E402
from vlx.tasks.huggingface.prompting import Prompt  # noqa: E402
from vlx.tasks.huggingface.tiny.chats import VISION  # noqa: E402
from vlx.tasks.huggingface.tiny.models import TEXT, build  # noqa: E402
from vlx.tasks.huggingface.tiny.words import byte_pairs  # noqa: E402

QUESTION = "what color is the house?"
Chat = Callable[..., Any]


@pytest.fixture(scope="module")
def chat(tiny_folder: Callable[[str], Path]) -> Chat:
    """A chat task of its own, to be changed at will, by dtype."""
    read = cache(lambda: cast(Any, load(tiny_folder("llava"))))

    def made(dtype: torch.dtype = torch.float32) -> Any:
        return wrap(deepcopy(read().model).to(dtype), read().prompting.processor, name="llava")

    return made


def said(task: Any, query: Query, seed: int = 2) -> tuple[Any, Prediction]:
    features = task.features(task.place(task.prepare(picture(seed))[None]))
    return features, task.predict(features, [query])[0]


def own_inputs(task: Any, question: str = QUESTION, seed: int = 2) -> dict[str, Tensor]:
    """What the processor makes of a picture and a question, as its makers write it."""
    content = [{"type": "image", "image": picture(seed)}, {"type": "text", "text": question}]
    asked = [{"role": "user", "content": content}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return dict(task.prompting.processor.apply_chat_template(asked, add_generation_prompt=True, **options))


def outcome(task: Any, cells: int = 4, **size: int) -> SelfTest:
    return cast(SelfTest, task.self_test(picture(2, **size), question=QUESTION, cells=cells))


def failed(found: SelfTest) -> set[str]:
    return {row.name for row in found.failed}


# What a newcomer runs


def test_every_word_of_an_answer_has_a_map_and_says_what_it_owes(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    why = vlx.explain(vlx.load(tiny_folder("llava")), picture(2, 90, 60), question=QUESTION)
    assert why.text.startswith("the house is ")
    assert [word.label for word in why] == why.text.split()
    assert (why.question, why.task, why.instead_of, why.forced) == (QUESTION, "vqa", None, False)
    assert [why.provenance[name] for name in ("question", "layer")] == [QUESTION, "model.multi_modal_projector"]
    for word in why:
        assert word.signed.shape == (6, 6)
        assert word.heatmap.shape == (60, 90)
        assert word.seen is not None
        assert word.check is not None
        assert word.alternatives[0][0] == word.label or len(word.label) > 5
    assert why.sentence.logprob == pytest.approx(sum(word.logprob for word in why))
    assert why.others == ()
    assert [phrase.label for phrase in why.phrases] == ["the house"]
    assert not why[3].heatmap[:, :14].any(), "the processor cuts the sides off"
    again = vlx.Explanation.load(why.save(tmp_path / "why.h5"))
    assert (again.text, again.question) == (why.text, QUESTION)
    assert QUESTION in why.save(tmp_path / "why.html").read_text(encoding="utf-8")


def test_the_words_are_those_of_the_untouched_model(chat: Chat) -> None:
    task = chat()
    prediction = said(task, Query(question=QUESTION))[1]
    inputs = own_inputs(task)
    options = {"do_sample": False, "max_new_tokens": 60, "return_dict_in_generate": True, "output_logits": True}
    made = task.model.generate(**inputs, **options)
    tokens = made.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    assert tokens[-1] == task.model.generation_config.eos_token_id
    assert prediction.tokens[prediction.start :] == tuple(tokens[:-1])
    assert task.tokenizer.decode(tokens[:-1]).strip() == prediction.text
    logprobs = torch.cat(made.logits).log_softmax(-1)
    for word in prediction.words:
        places = [(term.step - prediction.start, term.token) for term in word.terms]
        assert word.logprob == pytest.approx(sum(float(logprobs[place]) for place in places), abs=1e-5)


def test_what_is_given_back_is_what_the_model_reads(chat: Chat) -> None:
    """`scores` at A are the log-probabilities of stock ``forward`` on pixels, all of them."""
    task = chat(torch.float64)
    features, prediction = said(task, Query(question=QUESTION, answer="the house is greenish"))
    inputs, answer = own_inputs(task), prediction.tokens[prediction.start :]
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
    with torch.no_grad():
        logits = task.model(input_ids=ids, pixel_values=task.place(inputs["pixel_values"])).logits[0]
    rows = logits[-len(answer) - 1 : -1].log_softmax(-1)
    targets = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
    scores = engine.scores(task, features.A, targets)
    for target, score in zip(targets, scores.tolist(), strict=True):
        wanted = sum(float(rows[term.step - prediction.start, term.token]) for term in target.terms)
        assert score == pytest.approx(wanted, abs=1e-10)


def norm(module: Any, hidden: Tensor) -> Tensor:
    """What Llama's norm computes, in double: transformers rounds it to float32."""
    return cast(
        Tensor, module.weight * hidden / (hidden.square().mean(-1, keepdim=True) + module.variance_epsilon) ** 0.5
    )


def test_a_words_gradient_is_that_of_finite_differences(chat: Chat) -> None:
    task = chat(torch.float64)
    for module in task.model.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = partial(norm, module)
    features, prediction = said(task, Query(question=QUESTION))
    targets = [word_target(prediction, n, 0, "logprob") for n in (1, 3)]
    _, gradient = engine.gradients(task, features.A, targets)
    step, generator = 1e-5, torch.Generator().manual_seed(0)
    for _ in range(4):
        way = torch.randn(features.A.shape, generator=generator, dtype=torch.float64)
        ahead, behind = (engine.scores(task, features.A + side * step * way, targets) for side in (1, -1))
        slopes = (gradient * way).flatten(1).sum(1)
        torch.testing.assert_close((ahead - behind) / (2 * step), slopes, rtol=1e-6, atol=1e-9)


def test_the_users_model_is_left_as_it_was(chat: Chat) -> None:
    task = chat()
    own_inputs(task)
    task.model(**own_inputs(task))  # transformers hangs its own hooks in when it is first run
    before = {name: (module.training, len(module._forward_hooks)) for name, module in task.model.named_modules()}
    weights = {name: weight.clone() for name, weight in task.model.state_dict().items()}
    vlx.explain(task, picture(), question=QUESTION, check=False)
    after = {name: (module.training, len(module._forward_hooks)) for name, module in task.model.named_modules()}
    assert after == before
    assert all(weight.requires_grad and weight.grad is None for weight in task.model.parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in task.model.state_dict().items())


@pytest.mark.parametrize("size", [(90, 60), (45, 110)])
def test_the_self_test_passes_whatever_the_pictures_shape(chat: Chat, size: tuple[int, int]) -> None:
    found = outcome(chat(), 8, width=size[0], height=size[1])
    assert found.passed, str(found)
    for name in ("forced = generated", "no leak", "nothing goes round A", "stock model", "scores in company"):
        assert found[name].passed, name
        assert (found[name].value or 0) < 1e-4
    assert [found[name].value for name in ("patch probe", "patch probe 3:2")] == [1, 1]


def test_the_commands_answer_caption_and_check(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    model, shown = tiny_folder("llava"), tmp_path / "picture.png"
    picture(2, 90, 60).save(shown)
    answered = run("answer", shown, QUESTION, "--model", model, "-o", tmp_path / "answers")
    assert answered.exit_code == 0, answered.output
    assert f"asked: {QUESTION}" in answered.stdout
    assert "it answers: the" in answered.stdout
    page = (tmp_path / "answers" / "picture.html").read_text(encoding="utf-8")
    assert "Why each word" in page
    assert "Why each answer" not in page
    forced = ("--answer", "the house is red", "--instead-of", "red=greenish")
    compared = run("answer", shown, QUESTION, "--model", model, *forced, "-o", tmp_path / "compared")
    assert compared.exit_code == 0, compared.output
    assert "red rather than greenish in “the house is red”" in compared.stdout
    described = run("caption", shown, "--model", model, "-o", tmp_path / "captions")
    assert described.exit_code == 0, described.output
    assert DESCRIBE in " ".join(described.stdout.split())
    checked = run("models", "--check", model, "--image", shown, "--question", QUESTION)
    assert checked.exit_code == 0, checked.output
    assert "self-test passed" in checked.stdout


# Texts and questions


def test_a_forced_answer_is_explained_by_either_name(chat: Chat) -> None:
    task, text = chat(), "the house is greenish"
    features, by_answer = said(task, Query(question=QUESTION, answer=text))
    by_caption = task.predict(features, [Query(question=QUESTION, caption=text)])[0]
    free = task.predict(features, [Query(question=QUESTION)])[0]
    again = task.predict(features, [Query(question=QUESTION, answer=free.text)])[0]
    assert again.tokens == free.tokens, "written as the model writes it, with the space before it"
    assert (by_answer.text, by_answer.forced) == (text, True)
    assert by_caption == by_answer
    assert len(by_answer.words[3].terms) > 1
    with pytest.raises(InputError, match=r"^answer and caption are two names for the text"):
        task.predict(features, [Query(question=QUESTION, answer=text, caption=text)])


def test_a_question_makes_a_difference_and_none_asks_for_a_description(chat: Chat) -> None:
    task = chat()
    features, color = said(task, Query(question=QUESTION))
    queries = (Query(question="how many boats are there?"), Query(), Query(question=DESCRIBE))
    number, nothing, asked = (task.predict(features, [query])[0] for query in queries)
    assert len({color.text, number.text, nothing.text}) == 3
    assert nothing.words == asked.words
    assert nothing.notes == (f"no question was asked; the model was told: {DESCRIBE}",)


def test_an_answer_may_be_begun(chat: Chat) -> None:
    task = chat()
    features, whole = said(task, Query(question=QUESTION, answer="the house is blue"))
    begun = task.predict(features, [Query(question=QUESTION, prompt="the house is", answer="blue")])[0]
    assert [word.label for word in begun.words] == ["blue"]
    assert begun.tokens == whole.tokens
    assert begun.words[0] == whole.words[3]
    free = task.predict(features, [Query(question=QUESTION, prompt="the house")])[0]
    assert free.text.startswith("the house is ")
    assert free.notes == ("the model was given how the answer begins: the house",)


def test_beams_find_a_text_at_least_as_likely(chat: Chat) -> None:
    task = chat()
    features, greedy = said(task, Query(question=DESCRIBE))
    beams = task.predict(features, [Query(question=DESCRIBE, beams=3)])[0]
    totals = [sum(word.logprob for word in one.words) for one in (beams, greedy)]
    assert totals[0] >= totals[1] - 1e-4
    forced = task.predict(features, [Query(question=DESCRIBE, answer=beams.text)])[0]
    assert [word.logprob for word in forced.words] == pytest.approx([word.logprob for word in beams.words], abs=1e-4)


@pytest.mark.parametrize("other", ["red", "greenish"])
def test_a_word_against_another_is_the_difference_of_the_two(chat: Chat, other: str) -> None:
    task = chat()
    forced: dict[str, Any] = {"question": QUESTION, "answer": "the house is blue"}
    why = vlx.explain(task, picture(2), instead_of={"blue": other}, **forced)
    apart = [
        vlx.explain(task, picture(2), question=QUESTION, answer=f"the house is {word}", check=False, seen=False)[3]
        for word in ("blue", other)
    ]
    (word,) = why
    assert word.score == pytest.approx(apart[0].logprob - apart[1].logprob, abs=1e-4)
    assert why.instead_of == other
    assert [one.text for one in why.others] == ["blue", other]
    with pytest.raises(InputError, match="name the word"):
        vlx.explain(task, picture(2), instead_of=other, **forced)


def test_several_answers_are_each_explained_and_make_no_text_together(chat: Chat) -> None:
    task, answers = chat(), ["the house is red", "a boat"]
    why = vlx.explain(task, picture(2), question=QUESTION, answer=answers, check=False, seen=False)
    apart = [vlx.explain(task, picture(2), question=QUESTION, answer=text, check=False, seen=False) for text in answers]
    assert why.text == ", ".join(answers)
    wanted = [word for one in apart for word in one]
    assert [word.logprob for word in why] == pytest.approx([word.logprob for word in wanted], abs=1e-4)
    for a, b in zip(why, wanted, strict=True):
        assert a.signed == pytest.approx(b.signed, abs=1e-6)
    assert why.sentence.label == "the"
    assert why.phrases == ()


def test_pictures_and_questions_together_are_as_alone(chat: Chat) -> None:
    task, asked = chat(), [QUESTION, "how many boats are there?", DESCRIBE]
    pictures = [picture(seed) for seed in range(3)]
    together = list(vlx.explain_many(task, pictures, question=asked, check=False))
    for one, shown, question in zip(together, pictures, asked, strict=True):
        alone = vlx.explain(task, shown, question=question, check=False)
        assert (one.text, one.question) == (alone.text, question)
        for a, b in zip(one, alone, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-5)
            assert a.signed == pytest.approx(b.signed, abs=1e-6)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (Query(question="what is <image>?"), "the question holds special tokens (<image>); leave them out"),
        (Query(question=" ?"), "the question ' ?' holds no word"),
        (Query(question=QUESTION, answer="a <|endoftext|> house"), "the answer holds special tokens"),
        (Query(question=" ".join(["house"] * 150)), "llava takes at most 160; shorten it"),
        (Query(question=QUESTION, answer=" ".join(["house"] * 150)), "the question with its answer has"),
    ],
)
def test_texts_that_cannot_be_are_refused(chat: Chat, query: Query, told: str) -> None:
    with pytest.raises(InputError) as caught:
        said(chat(), query)
    assert told in str(caught.value)


# Parts that do not fit


def test_the_whole_processor_is_needed_with_a_template(chat: Chat) -> None:
    task = chat()
    with pytest.raises(InputError, match=r"give AutoProcessor\.from_pretrained"):
        wrap(task.model, (task.processor, task.tokenizer), name="llava")
    bare = deepcopy(task.prompting.processor)
    bare.chat_template = None
    with pytest.raises(ModelError, match="its processor has no chat template"):
        wrap(task.model, bare, name="llava")


def test_a_processor_of_another_checkpoint_is_told(chat: Chat) -> None:
    task = chat()
    other = deepcopy(task.prompting.processor)
    other.patch_size = 16
    with pytest.raises(ModelError, match=r"leaves 9 places for a picture of which the model makes 36 tokens"):
        said(wrap(task.model, other, name="llava"), Query(question=QUESTION))


def test_a_model_in_training_mode_is_refused(chat: Chat) -> None:
    task = chat()
    task.model.model.language_model.layers[0].train()
    with pytest.raises(ModelError, match=r"is in training mode; call model\.eval\(\) first"):
        said(task, Query(question=QUESTION))


# Faults


def test_another_prompt_than_the_processors_is_told(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    task = chat()
    right = task._question

    def shorter(*given: Any) -> Prompt:
        return Prompt(right(*given).tokens[:-1])  # without the last sign of "ASSISTANT:"

    monkeypatch.setattr(task, "_question", shorter)
    assert failed(outcome(task)) == {"stock model"}


def test_cells_in_another_order_are_told(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Height and width swapped: what the model reads is right, where it lies is not."""
    task = chat()
    laid, inputs = task.pictures.laid, task._inputs
    monkeypatch.setattr(task.pictures, "laid", lambda *given: laid(*given).mT)
    monkeypatch.setattr(task, "_inputs", lambda A, runs: inputs(A.mT, runs))
    assert failed(outcome(task, 8)) == {"axes are places", "patch probe", "patch probe 3:2"}


def test_what_goes_round_a_is_told(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what the model reads is that of the picture which was seen last, not A's."""
    task = chat()
    look, inputs = task._looked, task._inputs
    kept: list[Tensor] = []

    def seen(model: Any, shown: Tensor) -> Any:
        A, counts = look(model, shown)
        kept[:] = [A]
        return A, counts

    def mixed(A: Tensor, runs: Any) -> Any:
        return inputs(torch.cat([A[:, :16], kept[0][-1:, 16:].detach().expand(len(A), -1, -1, -1)], 1), runs)

    monkeypatch.setattr(task, "_looked", seen)
    monkeypatch.setattr(task, "_inputs", mixed)
    assert "nothing goes round A" in failed(outcome(task))


def test_an_answer_that_is_read_a_step_late_is_told(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    task = chat()
    right = task._placed
    monkeypatch.setattr(task, "_placed", lambda *given: (lambda run, n: (run, max(n - 1, 0)))(*right(*given)))
    assert "forced = generated" in failed(outcome(task))


# A family is a row of data


MARKS = {"image_token": "<soft>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
TURNS = (
    "{% for message in messages %}user {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<boi>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %} model "
)


def gemma(fill: dict[str, int]) -> ChatTask:
    """A tiny Gemma 3 by a row of its own: its question is read both ways, its picture is pooled 2 × 2."""
    tokenizer = byte_pairs()
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS.values())})
    tokenizer.model_max_length = 256
    for name, mark in MARKS.items():
        setattr(tokenizer, name, mark)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(mark))
    end = tokenizer.eos_token_id
    text = {**TEXT, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(tokenizer)}
    config = hf.Gemma3Config(
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        text_config={**text, "max_position_embeddings": 256, "eos_token_id": end, "pad_token_id": end},
        image_token_id=tokenizer.image_token_id,
        boi_token_id=tokenizer.boi_token_id,
        eoi_token_id=tokenizer.eoi_token_id,
        mm_tokens_per_image=4,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = hf.Gemma3ForConditionalGeneration(config).eval()
        nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.1)
    for weight in model.parameters():
        if weight.dim() >= 2:
            weight.data.mul_(3)  # so that it prefers some words to others
    model.generation_config.suppress_tokens = [*tokenizer.all_special_ids, *range(220)]
    images = hf.Gemma3ImageProcessor(size={"height": 32, "width": 32})
    processor = hf.Gemma3Processor(images, tokenizer, chat_template=TURNS, image_seq_length=4)
    parts = ("model.vision_tower", "model.multi_modal_projector")
    row = ChatFamily("Gemma3ForConditionalGeneration", parts, fill=fill)
    return adapter(model, processor, family=row, name="gemma", longest=8)


def test_another_family_is_another_row(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(gemma({"token_type_ids": 0}))
    assert found.passed, str(found)
    assert (found["stock model"].value or 0) < 1e-4


def test_token_types_that_are_dropped_are_told() -> None:
    task = gemma({"token_type_ids": 0})
    task.prompting.beside = ()
    assert failed(outcome(task)) == {"stock model"}


def test_token_types_that_are_wrong_are_told() -> None:
    assert failed(outcome(gemma({"token_type_ids": 1}))) == {
        "forced = generated", "gradients agree", "attention", "scores in company"
    }  # fmt: skip


def test_a_target_of_one_text_is_cut_where_it_is_read(chat: Chat) -> None:
    """What comes behind the last step that is read makes no difference, and need not be there."""
    task = chat()
    features, prediction = said(task, Query(question=QUESTION))
    target = word_target(prediction, 1, 0, "logprob")
    cut = replace(target, tokens=target.tokens[: target.last_step + 1])
    one, other = engine.scores(task, features.A, [target, cut]).tolist()
    assert one == pytest.approx(other, abs=1e-5)


# Families that no row names


def unlisted(change: Callable[[Any], None] = lambda _: None) -> Any:
    """A tiny VipLLaVA, which reads two layers of its tower, with LLaVA's tiny text; ``change`` is done to its model."""
    model, processor = build("llava")
    config = hf.VipLlavaConfig(
        vision_config=model.config.vision_config,
        text_config=model.config.text_config,
        image_token_id=model.config.image_token_id,
        vision_feature_layers=[1, 2],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        other = hf.VipLlavaForConditionalGeneration(config).eval()
    other.generation_config = model.generation_config
    other.model.language_model.load_state_dict(model.model.language_model.state_dict())
    other.lm_head.load_state_dict(model.lm_head.state_dict())
    change(other)
    return wrap(other, processor, name="vip")


def test_a_family_without_a_row_is_explained_where_its_self_test_passes() -> None:
    task = unlisted()
    assert task.notes[-1].startswith("unlisted family")
    assert task.family.parts == ("model.vision_tower", "model.multi_modal_projector")
    assert len(vlx.explain(task, picture(2), question=QUESTION, check=False)) > 0


def test_a_family_without_a_row_whose_tokens_lie_otherwise_is_refused() -> None:
    def turned(model: Any) -> None:
        given = model.model.multi_modal_projector.forward
        model.model.multi_modal_projector.forward = lambda hidden: given(hidden).flip(1)

    with pytest.raises(ModelError, match=r"of type 'vipllava', which vlx has no row for; .*\(patch probe"):
        unlisted(turned)
