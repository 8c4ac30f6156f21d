"""Chat models whose text reads latents, or a decoder's encoder: explained at their tower's tokens."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

hf = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.cli.test_cli import run  # noqa: E402
from vlx.errors import InputError, ModelError  # noqa: E402
from vlx.methods import engine  # noqa: E402
from vlx.pictures.placement import Grid  # noqa: E402
from vlx.protocol.powers import powers_of  # noqa: E402
from vlx.protocol.targets import Prediction, Query, word_target  # noqa: E402
from vlx.selftest.result import SelfTest  # noqa: E402
from vlx.tasks.huggingface import chat, tiny  # noqa: E402
from vlx.tasks.huggingface.chat_families import CHAT, ChatFamily  # noqa: E402
from vlx.tasks.huggingface.loading import load, wrap  # noqa: E402
from vlx.tasks.huggingface.refusals import quiet  # noqa: E402
from vlx.tasks.huggingface.twin import Twin, first_blocks, given_back  # noqa: E402

QUESTION = "what color is the house?"
LANDSCAPE, PORTRAIT = (90, 60), (60, 90)
CLASSES = {
    "blip2": ("Blip2ForConditionalGeneration", "Blip2Processor"),
    "blip2_t5": ("Blip2ForConditionalGeneration", "Blip2Processor"),
    "instructblip": ("InstructBlipForConditionalGeneration", "InstructBlipProcessor"),
    "kosmos2": ("Kosmos2ForConditionalGeneration", "Kosmos2Processor"),
    "idefics2": ("Idefics2ForConditionalGeneration", "Idefics2Processor"),
    "florence2": ("Florence2ForConditionalGeneration", "Florence2Processor"),
}
ENCODES = ("blip2_t5", "florence2")
ASKED = {"instructblip": QUESTION, "florence2": QUESTION}  # as the cards of their models put a question
KILOBYTES = 1200

Made = Callable[..., Any]


def picture(size: tuple[int, int] = LANDSCAPE, seed: int = 0) -> Image.Image:
    """Squares of colours about a colour of its own."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(0, 256, (1, 1, 3)) + rng.integers(-60, 60, (6, 6, 3))
    return Image.fromarray(np.clip(colors, 0, 255).astype("uint8")).resize(size, Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def made(tiny_folder: Callable[[str], Path]) -> Made:
    """A task of its own, to be changed at will, by family and dtype."""
    read = cache(lambda family: cast(Any, load(tiny_folder(family), dtype="float32")))

    def task(family: str, dtype: torch.dtype = torch.float32) -> Any:
        whole = read(family)
        return wrap(deepcopy(whole.model).to(dtype), deepcopy(whole.prompting.processor), name=family)

    return task


def said(task: Any, query: Query, seed: int = 0) -> tuple[Any, Prediction]:
    features = task.features(task.place(task.prepare(picture(seed=seed))[None]))
    return features, task.predict(features, [query])[0]


def stock_inputs(family: str, processor: Any, image: Image.Image) -> dict[str, Tensor]:
    """What the processor makes of a picture and a question, as the model's card writes it."""
    if family == "idefics2":
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return dict(processor(text=text, images=[image], return_tensors="pt"))
    return dict(processor(images=image, text=ASKED.get(family, f"Question: {QUESTION} Answer:"), return_tensors="pt"))


def outcome(task: Any, size: tuple[int, int] = LANDSCAPE, cells: int = 8) -> SelfTest:
    return cast(SelfTest, task.self_test(picture(size, 3), question=QUESTION, cells=cells))


def failed(found: SelfTest) -> set[str]:
    return {row.name for row in found.failed}


def probes(found: SelfTest) -> list[float | None]:
    return [found[name].value for name in ("patch probe", "patch probe 3:2")]


# The tiny models


@pytest.mark.parametrize("family", tiny.TOWERS)
def test_the_folder_holds_stock_classes_that_answer_in_words(tiny_folder: Callable[[str], Path], family: str) -> None:
    folder = tiny_folder(family)
    with quiet():
        model = hf.AutoModelForImageTextToText.from_pretrained(folder).eval()
        processor = hf.AutoProcessor.from_pretrained(folder)
    assert (type(model).__name__, type(processor).__name__) == CLASSES[family]
    assert sum(path.stat().st_size for path in folder.iterdir()) < KILOBYTES * 1000
    answers = set()
    for seed in range(6):
        with torch.no_grad(), quiet():
            written = model.generate(**stock_inputs(family, processor, picture(seed=seed)), max_new_tokens=12)
        answers.add(processor.tokenizer.decode(written[0], skip_special_tokens=True))
    assert len(answers) > 1, "the picture tells the answer"


# What a newcomer runs


@pytest.mark.parametrize("family", ["blip2", "florence2"])
def test_every_word_of_an_answer_has_a_map(tiny_folder: Callable[[str], Path], family: str, tmp_path: Path) -> None:
    task = vlx.load(tiny_folder(family))
    why = vlx.explain(task, picture(), question=QUESTION)
    assert why.text.startswith("the house is ")
    assert [word.label for word in why] == why.text.split()
    shape = {"blip2": (6, 6), "florence2": (4, 4)}[family]
    for word in why:
        assert word.signed.shape == shape
        assert word.heatmap.shape == (60, 90)
        assert word.seen is not None
        assert word.check is not None
    again = vlx.Explanation.load(why.save(tmp_path / "why.h5"))
    assert (again.text, again.question) == (why.text, QUESTION)
    described = vlx.explain(task, picture())
    assert described.text.startswith("a ")
    told = {"blip2": "nothing, so that it describes", "florence2": "<CAPTION>"}[family]
    assert f"no question was asked; the model was told: {told}" in described.notes
    compared = vlx.explain(task, picture(), question=QUESTION, answer="the house is red", instead_of={"red": "blue"})
    apart = [
        vlx.explain(task, picture(), question=QUESTION, answer=f"the house is {word}", check=False, seen=False)[3]
        for word in ("red", "blue")
    ]
    assert compared[0].score == pytest.approx(apart[0].logprob - apart[1].logprob, abs=1e-4)


def test_the_commands_answer_and_check(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    model, shown = tiny_folder("instructblip"), tmp_path / "picture.png"
    picture().save(shown)
    answered = run("answer", shown, QUESTION, "--model", model, "-o", tmp_path / "answers")
    assert answered.exit_code == 0, answered.output
    assert "it answers: the" in answered.stdout
    checked = run("models", "--check", model, "--image", shown, "--question", QUESTION)
    assert checked.exit_code == 0, checked.output
    assert "self-test passed" in checked.stdout


# Right to the model


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT])
@pytest.mark.parametrize("family", tiny.TOWERS)
def test_the_self_test_passes_whatever_the_pictures_shape(made: Made, family: str, size: tuple[int, int]) -> None:
    found = outcome(made(family), size)
    assert found.passed, str(found)
    for name in ("forced = generated", "no leak", "stock model", "scores in company"):
        assert found[name].passed, name
        assert (found[name].value or 0) < 1e-4
    assert probes(found) == [1, 1]


@pytest.mark.parametrize("family", tiny.TOWERS)
def test_the_self_test_passes_in_bfloat16(made: Made, family: str) -> None:
    found = outcome(made(family, torch.bfloat16))
    assert not found.failed, str(found)
    assert {row.name for row in found.open} <= {"gradient = replay"}, "steps of A are lost in rounding"
    assert probes(found) == [1, 1]
    assert (found["stock model"].value or 0) < 0.25


@pytest.mark.parametrize("family", tiny.TOWERS)
def test_the_words_are_those_of_the_untouched_model(made: Made, family: str) -> None:
    task = made(family)
    prediction = said(task, Query(question=QUESTION))[1]
    options = {"do_sample": False, "num_beams": 1, "no_repeat_ngram_size": 0, "max_new_tokens": 60}
    with torch.no_grad(), quiet():
        inputs = stock_inputs(family, task.prompting.processor, picture())
        written = task.model.generate(**inputs, **options, return_dict_in_generate=True, output_logits=True)
    tokens = written.sequences[0, -len(written.logits) :].tolist()
    logprobs = torch.cat(written.logits).log_softmax(-1)
    begun = 1 if family == "florence2" else 0  # BART's <s>
    assert prediction.tokens[prediction.start :] == tuple(tokens[begun:-1])
    for word in prediction.words:
        places = [(begun + term.step - prediction.start, term.token) for term in word.terms]
        assert word.logprob == pytest.approx(sum(float(logprobs[place]) for place in places), abs=1e-4)


@pytest.mark.parametrize("family", tiny.TOWERS)
def test_scores_at_the_tower_are_those_of_stock_forward_on_pixels(made: Made, family: str) -> None:
    double = family != "kosmos2"  # whose mask is made in float32 only
    task = made(family, torch.float64 if double else torch.float32)
    features, prediction = said(task, Query(question=QUESTION, answer="the house is greenish"))
    answer = list(prediction.tokens[prediction.start :])
    inputs = {
        name: value.to(features.A) if value.is_floating_point() else value
        for name, value in stock_inputs(family, task.prompting.processor, picture()).items()
    }
    if family in ENCODES:
        inputs["decoder_input_ids"] = torch.tensor([[*task._start, *answer]])
    else:
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
        for name, number in (("attention_mask", 1), ("image_embeds_position_mask", 0)):
            if name in inputs:
                inputs[name] = nn.functional.pad(inputs[name], (0, len(answer)), value=number)
    with torch.no_grad():
        rows = task.model(**inputs).logits[0, -len(answer) - 1 : -1].log_softmax(-1)
    targets = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
    scores = engine.scores(task, features.A, targets, features.rest)
    for target, score in zip(targets, scores.tolist(), strict=True):
        wanted = sum(float(rows[term.step - prediction.start, term.token]) for term in target.terms)
        assert score == pytest.approx(wanted, abs=1e-6 if double else 1e-4)  # some norms are of float32 always


@pytest.mark.parametrize("family", ["blip2", "florence2", "idefics2"])
def test_an_answer_of_ones_own_is_written_as_the_model_writes_it(made: Made, family: str) -> None:
    task = made(family)
    features, free = said(task, Query(question=QUESTION))
    forced = task.predict(features, [Query(question=QUESTION, answer=free.text)])[0]
    assert forced.tokens == free.tokens
    assert [word.logprob for word in forced.words] == pytest.approx([word.logprob for word in free.words], abs=1e-4)
    begun = task.predict(features, [Query(question=QUESTION, prompt="the house is", answer="blue")])[0]
    whole = task.predict(features, [Query(question=QUESTION, answer="the house is blue")])[0]
    assert begun.tokens == whole.tokens
    beams = task.predict(features, [Query(question=QUESTION, beams=3)])[0]
    assert sum(word.logprob for word in beams.words) >= sum(word.logprob for word in free.words) - 1e-4


def test_questions_of_several_lengths_are_as_alone(made: Made) -> None:
    """InstructBLIP's Q-Former reads the question, too, by a tokenizer of its own."""
    task = made("instructblip", torch.float64)
    asked = (QUESTION, "how many boats are there?", "is there a boat?", "what?")
    features = task.features(task.place(task.prepare(picture())[None]))
    queries = [Query(question=question, answer="the house is red") for question in asked]
    predictions = [task.predict(features, [query])[0] for query in queries]
    targets = [word_target(prediction, 3, 0, "logprob") for prediction in predictions]
    together = engine.scores(task, features.A, targets, features.rest)
    alone = torch.cat([engine.scores(task, features.A, [target], features.rest) for target in targets])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    assert len(set(together.tolist())) == len(asked)


def test_a_text_that_is_cut_is_not_ended_by_force(made: Made) -> None:
    task = made("florence2")
    task.longest = 3
    prediction = said(task, Query(question=QUESTION))[1]
    assert len(prediction.tokens) - prediction.start == 3
    assert any(note.startswith("cut after 3 tokens") for note in prediction.notes)
    assert task.stock(picture(), Query(question=QUESTION)).tokens == prediction.tokens[prediction.start :]


def test_the_users_model_is_left_as_it_was(made: Made) -> None:
    task = made("florence2")
    with torch.no_grad():
        task.model(**stock_inputs("florence2", task.prompting.processor, picture()))
    before = {name: (set(vars(module)), len(module._forward_hooks)) for name, module in task.model.named_modules()}
    vlx.explain(task, picture(), question=QUESTION, check=False)
    after = {name: (set(vars(module)), len(module._forward_hooks)) for name, module in task.model.named_modules()}
    assert after == before
    assert task.model.generation_config.forced_eos_token_id is not None
    assert all(weight.requires_grad and weight.grad is None for weight in task.model.parameters())


def test_cells_of_merged_patches_lie_where_their_convolutions_put_them(made: Made) -> None:
    task = made("florence2")
    grid = said(task, Query(question=QUESTION))[0].grid
    assert (grid.offset, grid.stride, grid.shape, grid.size) == ((0, 0), (32, 32), (4, 4), (128, 128))
    pixels = task.place(task.prepare(picture())[None]).requires_grad_()
    seen = task._split(first_blocks(task.model, task.vision()), pixels)[0]
    for cell in (1, 2):
        (moved,) = torch.autograd.grad(seen[0, :, cell, cell].sum(), pixels, retain_graph=True)
        rows = moved[0].abs().sum((0, 2)).nonzero()
        assert (int(rows.min()), int(rows.max())) == (32 * cell - 31, 32 * cell + 31)


# Faults


def test_latents_that_are_taken_for_a_grid_are_told(made: Made) -> None:
    """Nine latents of a square picture make a fine grid of 3 × 3, which is no place of anything."""
    task = made("idefics2")
    row = ChatFamily("Idefics2ForConditionalGeneration", ("model.vision_model", "model.connector"))
    wrong = chat.adapter(task.model, task.prompting.processor, family=row, name="idefics2")
    found = wrong.self_test(picture((60, 60), 3), question=QUESTION, cells=9)
    assert "patch probe" in failed(found), str(found)


def test_half_a_cell_is_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made("florence2")
    monkeypatch.setattr(task, "_grid", lambda A, size: Grid.half_pixel((A.shape[-2], A.shape[-1]), size))
    found = probes(outcome(task, cells=16))
    assert max(one or 0 for one in found) < 1, found


def test_height_and_width_in_each_others_place_are_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made("idefics2")
    split, inputs = task._split, task._whole
    monkeypatch.setattr(task, "_split", lambda *given: (split(*given)[0].mT, split(*given)[1]))
    monkeypatch.setattr(task, "_whole", lambda A, rest: inputs(A.mT, rest))
    assert "axes are places" in failed(outcome(task)) or "patch probe" in failed(outcome(task))


def test_a_question_that_the_q_former_does_not_get_is_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made("instructblip")
    inputs = task._inputs

    def without(A: Tensor, runs: Sequence[Any]) -> dict[str, Any]:
        whole: dict[str, Any] = inputs(A, runs)
        return (
            whole
            | {"qformer_input_ids": whole["qformer_input_ids"][:, :1] * 0 + 1}
            | {"qformer_attention_mask": whole["qformer_attention_mask"][:, :1]}
        )

    monkeypatch.setattr(task, "_inputs", without)
    assert "stock model" in failed(outcome(task))


@pytest.mark.parametrize("family", ["kosmos2", "blip2"])
def test_another_prompt_is_told(made: Made, family: str) -> None:
    task = made(family)
    task.prompting.family = replace(task.prompting.family, form="{} Answer:")
    right = stock_inputs(family, task.prompting.processor, picture(LANDSCAPE, 3))
    assert task.given(picture(), Query(question=QUESTION)).keys() <= right.keys()
    task.given = lambda image, query: right
    assert "stock model" in failed(outcome(task))


def test_a_decoders_first_token_belongs_to_no_word(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    task = made("florence2")
    monkeypatch.setattr(type(task), "_start", property(lambda self: (2,)))
    assert failed(outcome(task)) & {"stock model", "forced = generated"}


# Parts that do not fit


def test_a_processor_that_cuts_pictures_into_crops_is_refused(made: Made) -> None:
    task = made("idefics2")
    processor = task.prompting.processor
    processor.image_processor.do_image_splitting = True
    with pytest.raises(ModelError, match=r"cuts a picture into 5 crops.*do_image_splitting = False"):
        wrap(task.model, processor, name="idefics2")


def test_a_prompt_by_hand_is_for_models_with_a_template(made: Made) -> None:
    task = made("blip2")
    with pytest.raises(InputError, match=r"is asked by 'Question: \{\} Answer:': give the text as question="):
        wrap(task.model, task.prompting.processor, name="blip2", prompt="Q: <image> {question} A:")


def test_a_model_on_several_devices_is_refused_where_it_is_explained_by_a_twin(made: Made) -> None:
    for family in ("blip2", "idefics2"):
        task = made(family)
        task.model.hf_device_map = {"vision_model": 0, "language_model": 1}
        if family == "idefics2":
            assert wrap(task.model, task.prompting.processor, name=family).name == family
            continue
        with pytest.raises(ModelError, match=r"lies on 2 devices.*device= instead of device_map="):
            wrap(task.model, task.prompting.processor, name=family)


def test_a_processor_of_another_checkpoint_is_told(made: Made) -> None:
    task = made("blip2")
    task.prompting.processor.num_query_tokens = 5
    with pytest.raises(ModelError, match=r"leaves 5 places for a picture of which the model makes 9 tokens"):
        said(wrap(task.model, task.prompting.processor, name="blip2"), Query(question=QUESTION))


@pytest.mark.parametrize("family", ["florence2", "kosmos2"])
def test_texts_that_cannot_be_are_refused(made: Made, family: str) -> None:
    task = made(family)
    with pytest.raises(InputError, match="takes at most"):
        said(task, Query(question=" ".join(["house"] * 600)))
    with pytest.raises(InputError, match="special tokens"):
        said(task, Query(question="what is </s>?"))
    with pytest.raises(ModelError, match="training mode"):
        said(wrap(task.model.train(), task.prompting.processor, name=family), Query())


class Packed(nn.Parameter):
    """A weight with a state of its own, as quantised ones are."""


def test_a_twin_keeps_weights_of_a_kind_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    weight = Packed(torch.ones(2, 2), requires_grad=False)
    cast(Any, model[0]).weight = weight
    assert Twin(model, {})()[0].weight is weight


def test_hooks_of_a_tower_run_once(made: Made) -> None:
    """On what the tower gives, and not once more on what the twin is given."""
    task = made("blip2")
    seen: list[int] = []
    task.model.vision_model.register_forward_hook(lambda *_: seen.append(1))
    features, prediction = said(task, Query(question=QUESTION))
    assert len(seen) == 1
    copied = deepcopy(task.model)
    given_back("vision_model", copied)
    assert not copied.vision_model._forward_hooks
    assert task.model.vision_model._forward_hooks
    assert len(prediction.words) == 4
    assert features.A.shape == (1, 32, 6, 6)


def test_latents_are_read_by_no_method(made: Made) -> None:
    """A readout or an attention over latents has no place in the picture: the methods say that they cannot."""
    powers = powers_of(made("blip2"))
    assert powers.attends is None
    assert powers.reads_out is None
    assert powers.sees is not None


def test_rows_name_classes_of_transformers() -> None:
    rows = {kind: row for kind, row in CHAT.items() if row.tower is not None}
    assert sorted(rows) == ["blip-2", "florence2", "idefics2", "instructblip", "kosmos-2"]
    assert {row.architecture for row in rows.values()} == {name for name, _ in CLASSES.values()}
