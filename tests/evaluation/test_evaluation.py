from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.heads import classifier, vqa
from vlx import scenes
from vlx.errors import InputError
from vlx.evaluation import agreement, evaluate, grounds, wilson
from vlx.evaluation.cards.quality import caption_quality
from vlx.evaluation.cases import Case
from vlx.evaluation.metrics.pointing import hit, peaks_of
from vlx.evaluation.result import MACRO
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.protocol.targets import Prediction, Target, Term, Word
from vlx.scenes.vocabulary import caption_vocabulary
from vlx.tasks.captioning import CnnLstmCaptioner, bundle

WORDS = {"object", "color", "texture", "scene"}


def random_captioner(tmp_path: Path) -> CnnLstmCaptioner:
    torch.manual_seed(0)
    config = bundle.CaptionerConfig(vocabulary=tuple(caption_vocabulary()))
    bundle.save(tmp_path / "random", config, bundle.build(config))
    return bundle.load_task(tmp_path / "random", "random")


def placement(cells: int = 16, size: int = 128) -> Placement:
    stride = size / cells
    grid = Grid((0.0, 0.0), (stride, stride), (cells, cells), (size, size))
    return Placement(grid, Frame.whole((size, size), (size, size)))


def case(mask: NDArray[np.bool_]) -> Case:
    word = Word("word", (Term(0, 0),), 0.0)
    return Case("object", 0, mask, Prediction("word", (word,), (0,)), 0, Target(0, "", (Term(0, 0),)))


@pytest.mark.parametrize("measure", [evaluate, agreement, grounds])
def test_a_classifier_has_no_truth_in_drawn_scenes(measure: Callable[..., Any]) -> None:
    task = classifier(3)
    with pytest.raises(InputError, match=r"^Net does classification, and drawn .*vlx\.recommend\(task, pic") as caught:
        measure(task, n=2)
    assert len(str(caught.value)) <= 300
    assert task.model.runs == 0


def test_a_model_of_other_words_is_told_so() -> None:
    task = vqa(3, lambda z: z, ["red", "green", "blue"])
    with pytest.raises(
        InputError, match=r"^drawn scenes cannot judge vqa, which has other words .*recommend"
    ) as caught:
        evaluate(task, n=2)
    assert len(str(caught.value)) <= 300


def test_a_hit_is_a_peak_centred_on_the_very_object() -> None:
    scene = next(scene for scene in map(scenes.draw, range(50)) if len(scene.named) == 2)
    mask, elsewhere = (spoken.mask for spoken in scene.words if spoken.category == "object")
    assert mask is not None and elsewhere is not None
    ys, xs = np.nonzero(mask)
    cell = next((int(y) // 8, int(x) // 8) for y, x in zip(ys, xs, strict=True) if y % 8 == 0 and x % 8 == 0)
    assert hit(case(mask), cell, placement()) == 1.0
    assert hit(case(elsewhere), cell, placement()) == 0.0
    assert hit(case(mask), None, placement()) == 0.0


def test_a_map_without_a_positive_cell_has_no_peak() -> None:
    maps = torch.zeros(3, 2, 3)
    maps[1, 1, 2] = 5.0
    maps[2] = -1.0
    assert peaks_of(maps) == [None, (1, 2), None]


def test_wilson_interval_is_the_published_one() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


def test_baselines_are_what_a_random_and_a_central_point_score(tmp_path: Path) -> None:
    result = evaluate(random_captioner(tmp_path), 4)
    chosen = [
        scene for scene in map(scenes.draw, range(scenes.HELD_OUT, scenes.HELD_OUT + 40)) if len(scene.named) == 2
    ]
    spoken = [word for scene in chosen[:4] for word in scene.words if word.category == "object"]
    areas = [float(word.mask.mean()) for word in spoken if word.mask is not None]
    central = [float(word.mask[64, 64]) for word in spoken if word.mask is not None]
    row = next(row for row in result.rows if (row.group, row.method, row.target) == ("object", "hirescam", "logit"))
    assert row.count == len(spoken) == 8
    assert row.random == pytest.approx(np.mean(areas))
    assert row.centre == pytest.approx(np.mean(central))
    assert row.low <= row.value <= row.high
    assert {row.group for row in result.rows} == {*WORDS, MACRO}
    assert len(result.rows) == (len(WORDS) + 1) * 5 * 2


def test_json_has_the_promised_keys_and_names_its_command(tmp_path: Path) -> None:
    told = evaluate(random_captioner(tmp_path), 2).to_json()
    assert told["command"] == "vlx evaluate random --n 2"
    assert set(told["rows"][0]) >= {"group", "method", "target", "metric", "value", "low", "high", "random", "centre"}


def test_occlusion_reports_the_fall_of_log_p(tmp_path: Path) -> None:
    result = evaluate(random_captioner(tmp_path), 2, occlusion=True)
    falls = [row for row in result.rows if row.metric == "fall"]
    assert len(falls) == (len(WORDS) + 1) * 5 * 2
    assert any(row.value != 0 for row in falls)


def test_caption_quality_counts_words_in_their_own_noun_phrase(tmp_path: Path) -> None:
    from vlx.evaluation.cards.quality import _by_category

    shares = _by_category(
        ["a red house and a striped blue car at night"], ["a blue house and a striped red car at night"]
    )
    assert shares == {"object": 1.0, "color": 0.0, "texture": 1.0, "scene": 1.0}
    quality = caption_quality(random_captioner(tmp_path), 4)
    assert quality.exact == 0.0
    assert 0 <= quality.forced < 0.5
