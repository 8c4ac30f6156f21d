"""The benchmark of vision-language LLMs: what it trains is what `ChatTask` explains, and what it measures is right."""

from typing import Any

import numpy as np
import pytest
import torch

from vlx import scenes
from vlx.evaluation.result import MACRO, Figure, Result

pytest.importorskip("transformers")
from benchmarks import vlm_maps, vlm_scenes
from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.chat_families import DESCRIBE
from vlx.tasks.huggingface.loading import wrap

QUESTION, ANSWER, CAPTION = "what color is the car?", "red", "a red car in a desert"
NAN = float("nan")


@pytest.fixture(scope="module")
def parts() -> vlm_scenes.Parts:
    model, processor = vlm_scenes.build()
    return vlm_scenes.Parts(model.eval(), processor)


def test_a_lesson_is_what_the_processor_makes_of_it(parts: vlm_scenes.Parts) -> None:
    scene = scenes.draw(3, size=vlm_scenes.SIDE)
    whole = stock.asked(parts.processor, scene.image, QUESTION, ANSWER)
    asked, said = vlm_scenes.turn(parts.processor, QUESTION, ANSWER)
    own = [*vlm_scenes.before(parts.processor), *asked, *said]
    assert [*whole["input_ids"][0].tolist(), parts.processor.tokenizer.eos_token_id] == own
    assert parts.processor.tokenizer.pad_token_id not in own, "every word has a token of its own"


def test_every_word_of_the_world_has_a_token(parts: vlm_scenes.Parts) -> None:
    for seed in range(40):
        scene = scenes.draw(seed, size=64)
        texts = [scene.caption, *(text for one in scene.questions for text in (one.text, one.answer))]
        ids = parts.processor.tokenizer(" ".join(texts))["input_ids"]
        assert parts.processor.tokenizer.pad_token_id not in ids


def test_turns_that_share_a_picture_are_read_as_if_alone(parts: vlm_scenes.Parts) -> None:
    model, processor = parts
    turns = [vlm_scenes.turn(processor, *pair) for pair in ((QUESTION, ANSWER), (DESCRIBE, CAPTION))]
    start = vlm_scenes.before(processor)
    packed = vlm_scenes.pack(start, [turns], processor.tokenizer.pad_token_id)
    maps = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(0))
    reads: dict[str, Any] = {"pixel_values": maps, "use_cache": False}
    with torch.no_grad():
        together = model.model(
            input_ids=packed.ids, attention_mask=packed.seen, position_ids=packed.places, **reads
        ).last_hidden_state[0]
        first = len(start)
        for asked, said in turns:
            alone = model.model(input_ids=torch.tensor([[*start, *asked, *said]]), **reads).last_hidden_state[0]
            stop = first + len(asked) + len(said)
            torch.testing.assert_close(together[first:stop], alone[len(start) :], rtol=0, atol=1e-5)
            wanted = packed.wanted[0, first + len(asked) - 1 : stop - 1].tolist()
            assert wanted == said
            first = stop
    assert (packed.wanted != vlm_scenes.IGNORED).sum() == sum(len(said) for _, said in turns)


def test_the_tower_sees_a_picture_as_the_map_it_learned_from(parts: vlm_scenes.Parts) -> None:
    task: Any = wrap(parts.model, parts.processor, name="random", task="captioning")
    image = scenes.draw(5, size=vlm_scenes.SIDE).image
    inputs = task.prepare(image)[None]
    tower = parts.model.model.vision_tower
    with torch.no_grad():
        seen, given = tower(inputs).last_hidden_state, tower(tower.cnn(inputs)).last_hidden_state
    assert torch.equal(seen, given)
    assert task.features(inputs).A.shape == (1, vlm_scenes.WIDTH, vlm_scenes.CELLS, vlm_scenes.CELLS)


def test_a_run_that_was_cut_short_goes_on_with_the_same_lessons(parts: vlm_scenes.Parts) -> None:
    turns = [[vlm_scenes.turn(parts.processor, QUESTION, ANSWER)] * 5] * (vlm_scenes.BATCH + 3)
    maps = torch.arange(len(turns), dtype=torch.half)[:, None, None, None]
    data = vlm_scenes.Lessons(maps, turns)
    whole = [packed for packed, _ in vlm_scenes.steps(data, [1], 0, 4, 0)]
    again = [packed for packed, _ in vlm_scenes.steps(data, [1], 0, 4, 2)]
    assert all(torch.equal(one, other) for one, other in zip(whole[2:], again, strict=True))
    assert not torch.equal(whole[0], whole[1])


def figure(group: str, metric: str, value: float, random: float = NAN, centre: float = NAN) -> Figure:
    return Figure(group, "mine", "logprob", metric, value, NAN, NAN, random, centre, NAN, 9)


def test_the_default_has_to_beat_the_better_baseline() -> None:
    rows = (
        figure("object", "pointing", 0.5, 0.1, 0.2),
        figure("color", "pointing", 0.5, 0.3, 0.2),
        figure("scene", "pointing", 0.0, 0.9, 0.9),
        figure(MACRO, vlm_maps.TENTH, 1.9, 0.1),
    )
    told = [*vlm_maps.goals(Result("model", 9, rows, ""), "mine")]
    assert [value >= least for _, value, least in told] == [True, False, False]


def test_the_cells_that_a_map_marks_most_are_taken() -> None:
    """Of a task whose score is the sum of A's first unit, over cells that are 0 … 63, the tenth is the last six."""

    class Summing:
        def scores(self, A: torch.Tensor, targets: Any, rest: Any = None) -> torch.Tensor:
            return A[[target.row for target in targets], 0].sum((1, 2))

    cells = torch.arange(64.0).view(1, 1, 8, 8)
    tenth = vlm_maps.Tenth(Summing())
    vars(tenth)["mean"] = torch.zeros(1, 1)
    context = Context(cells, {"rising": cells[0, 0].numpy(), "falling": -cells[0, 0].numpy()})
    falls = tenth.fall(context)  # type: ignore[arg-type]
    assert falls == {("rising", "logprob"): sum(range(58, 64)), ("falling", "logprob"): sum(range(6))}


class Context:
    """What `Tenth.fall` asks of a context."""

    def __init__(self, A: torch.Tensor, maps: dict[str, np.ndarray[Any, Any]]) -> None:
        from types import SimpleNamespace

        self.shown = SimpleNamespace(features=SimpleNamespace(A=A))
        self.case = SimpleNamespace(row=0)
        self.maps = {(name, "logprob"): SimpleNamespace(signed=values) for name, values in maps.items()}

    def target(self, kind: str) -> Any:
        from vlx.protocol.targets import Target, Term

        return Target(0, "word", (Term(0, 0),), "logprob")
