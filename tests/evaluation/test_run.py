"""The one loop: any data, method, baseline and metric, and what is refused before a picture is shown."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import vlx
from tests.cli.test_cli import run
from tests.explanation.test_map_check import colours, squares
from tests.fakes import captioner, tiny_bundle
from vlx.cli import evaluate as command
from vlx.data.example import Ask, Example, Truth, labelled
from vlx.errors import InputError
from vlx.evaluation import Figure, Metric, Result, baselines, evaluate, of_maps
from vlx.evaluation.figures import Telling, by_group
from vlx.evaluation.metrics import METRICS
from vlx.evaluation.records import Columns, Record
from vlx.evaluation.result import MACRO
from vlx.evaluation.shown import ShownBatch
from vlx.methods import registry
from vlx.methods.at_layer import ablated_layers
from vlx.methods.cams import Weighting
from vlx.methods.method import Site, cam
from vlx.methods.names import ABLATIONS
from vlx.protocol.targets import Query

Values = NDArray[np.float64]


class Squares:
    """Pictures with a red and a green square, each asked for by its class, where it stands known."""

    name, licence, by_size = "squares", "none", False

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Example:
        picture = squares(0, 1)
        pixels = np.asarray(picture, int)
        asks = [
            Ask(label=name, group="square", truth=Truth(pixels[..., channel] > 1.5 * pixels[..., 1 - channel] + 40))
            for channel, name in enumerate(("red", "green"))
        ]
        return Example(str(number), picture, asks=asks)

    def digest(self) -> str:
        return "squares"


def test_anybodys_own_metric_measures_every_map_and_the_baselines() -> None:
    def inside(case: Any, values: Values, shown: ShownBatch) -> float:
        painted = shown.placement(case.row).paint(values)
        return float(painted[case.mask].sum() / max(painted.sum(), 1e-9))

    energy = Metric("energy", "the share of the map on the thing itself", of_maps("energy", inside))
    result = evaluate(
        colours(), Squares(), metrics=["pointing", energy], methods=["gradcam", "centre"], targets=["logit"]
    )
    own = {row.method: row for row in result.rows if row.metric == "energy"}
    area = np.mean([ask.mask.mean() for ask in Squares()[0].asks])  # type: ignore[union-attr]
    assert own["gradcam"].value > 0.8
    assert own["centre"].value == pytest.approx(own["gradcam"].centre)
    assert own["gradcam"].random == pytest.approx(area, rel=0.3)
    told = "--metrics pointing,energy --methods gradcam,centre --targets logit"
    assert result.command == f"vlx evaluate {colours().name} squares {told}"
    assert {row.count for row in result.rows} == {6}


def test_data_and_methods_of_ones_own_are_measured_like_those_that_are_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_OWN", {})
    lit = cam(Weighting("lit", lambda A, G: A.sum(1).expand(len(G), -1, -1), False, "", "activation", "hirescam"))
    result = evaluate(colours(), Squares(), methods=[lit, "default"], n=2)
    assert (result.n, result.of) == (2, "pictures")
    assert {row.method for row in result.rows} == {"lit", colours().defaults.method}
    pointed = {row.method: row.value for row in result.rows if row.target == "logit"}
    assert pointed[colours().defaults.method] == 1.0 > pointed["lit"]


NOTHING: Any = lambda setting: None  # noqa: E731


def _measured(measure: Any, name: str = "odd") -> Metric:
    return Metric(name, "", of_maps(name, measure))


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"metrics": "pointing"}, r"^metrics='pointing'; give a list of them, as \['pointing'\]$"),
        ({"methods": "gradcam"}, r"^methods='gradcam'; give a list"),
        ({"targets": "logit"}, r"^targets='logit'; give a list"),
        ({"metrics": []}, r"^no metric to measure by; give one\. Known: pointing, "),
        ({"metrics": [abs]}, r"^<built-in function abs> is no metric; give a name or a vlx\.evaluation\.Metric$"),
        ({"metrics": ["pointing", _measured(abs, "pointing")]}, r"^two metrics are called 'pointing'; leave one out"),
        (
            {"metrics": [Metric("odd", "", begin=NOTHING)]},
            r"^metric 'odd' begins with NoneType; return a function of a ShownBatch",
        ),
        (
            {"metrics": [Metric("odd", "", NOTHING)]},
            r"^metric 'odd' makes NoneType of a context; return \{\(method, target\): number\}$",
        ),
        (
            {"metrics": [Metric("odd", "", begin=lambda setting: lambda shown: cast(Any, [1]))]},
            r"^metric 'odd' measures 'int'; give vlx\.evaluation\.records\.Record with metric='odd'$",
        ),
        (
            {"metrics": [_measured(lambda case, values, shown: None)]},
            r"^metric 'odd' makes NoneType of a map; return one",
        ),
        (
            {"metrics": [_measured(lambda case, values, shown: values)]},
            r"^metric 'odd' makes an array \[\d+, \d+\] of a",
        ),
    ],
)
def test_what_is_no_metric_is_refused_by_name(wish: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        evaluate(colours(), Squares(), **wish)


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (None, r"^squares\[0\] is NoneType; give a vlx\.data\.Example$"),
        (
            np.ones((5, 32), bool),
            r"^odd: the truth of what is asked has a mask bool \[5, 32\]; give bool \[H, W\] on the",
        ),
        (np.full((64, 64), np.nan), r"^odd: the truth of what is asked has a mask float64 \[64, 64\]; give bool"),
    ],
)
def test_pictures_and_masks_of_ones_own_data_are_looked_at(picture: Any, told: str) -> None:
    class Odd(Squares):
        def __getitem__(self, number: int) -> Any:
            return picture if picture is None else Example("odd", shown, asks=[Ask(label=label, truth=Truth(picture))])

    shown, label = Squares()[0].image, Squares()[0].asks[0].label
    with pytest.raises(InputError, match=told):
        evaluate(colours(), Odd())
    if picture is None:
        with pytest.raises(InputError, match=r"^a picture of the data is NoneType; give a vlx\.data\.Example$"):
            labelled(Odd()[0], ())


def test_data_without_pictures_have_nothing_to_measure() -> None:
    class Empty(Squares):
        def __len__(self) -> int:
            return 0

    with pytest.raises(InputError, match=r"^squares has 0 pictures; give data with some$"):
        evaluate(colours(), Empty())


def test_scenes_by_name_are_the_scenes_by_number() -> None:
    task = vlx.load("scenes/captioner")
    by_number = evaluate(task, 2, metrics=["occlusion"], methods=["layercam"], first=10_000_040)
    by_name = evaluate(task, "scenes:2:10000040", metrics=["occlusion"], methods=["layercam"])
    assert by_number.rows == by_name.rows
    assert by_name.command == "vlx evaluate scenes/captioner scenes:2:10000040 --metrics occlusion --methods layercam"


def test_several_metrics_share_one_run_of_the_vision_part() -> None:
    task: Any = vlx.load("scenes/captioner")
    runs: list[int] = []
    features = task.features

    class Counted:
        def __getattr__(self, name: str) -> Any:
            return getattr(task, name)

        def features(self, inputs: torch.Tensor) -> Any:
            runs.append(len(inputs))
            return features(inputs)

    both = evaluate(Counted(), 1, metrics=["pointing", "because"])
    alone = evaluate(task, 1, metrics=["pointing"])
    assert [row for row in both.rows if row.metric == "pointing"] == list(alone.rows)
    assert runs == [1]


def test_baselines_know_nothing_of_the_model_and_say_so() -> None:
    task = captioner()
    inputs = torch.stack([task.prepare(Image.new("RGB", (16, 16), colour)) for colour in ("red", "blue")])
    features = task.features(inputs)
    said = task.predict(features, [Query()] * 2)
    from vlx.protocol.targets import word_target

    targets = [word_target(one, 0, row, "logprob") for row, one in enumerate(said)]
    site = Site(features, inputs)
    for name, method in baselines.METHODS.items():
        assert not method.evidence
        if name == "same":
            continue
        maps = method.attribute(task, site, targets).signed
        assert maps.shape == (2, *features.grid.shape)
        assert (maps >= 0).all()
        assert torch.equal(maps, method.attribute(task, site, targets).signed), "the same at every run"
        alone = method.attribute(task, site.row(1), [replace(targets[1], row=0)]).signed
        assert torch.equal(maps[1:], alone), "a picture's map is its own, whatever stands beside it"
        assert torch.equal(maps[0], maps[1]) == (name in ("centre", "uniform", "edges"))
    middle = baselines.centre((5, 7))
    assert divmod(int(middle.argmax()), 7) == (2, 3)
    np.testing.assert_allclose(middle, middle[::-1])


def test_edges_are_where_the_picture_has_some() -> None:
    task = captioner()
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    inputs = task.prepare(Image.fromarray(pixels))[None]
    features = task.features(inputs)
    from vlx.protocol.targets import word_target

    target = word_target(task.predict(features, [Query()])[0], 0, 0, "logprob")
    edges = baselines.METHODS["edges"].attribute(task, Site(features, inputs), [target]).signed[0]
    columns = edges.sum(0)
    w = features.grid.shape[1]
    assert {int(columns.argmax())} <= {w // 2 - 1, w // 2}
    assert columns[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["pointin"]}, r"^no metric 'pointin'; close: pointing.*Known: pointing, fall, occlusion"),
        ({"methods": []}, r"^methods=\[\]: no method to measure; give one, or leave it out"),
        ({"targets": ["logits"]}, r"^no target 'logits'\. Known: logprob, logit, prob, margin$"),
        ({"methods": ["grdcam"]}, r"^no method 'grdcam'; close: gradcam"),
        ({"methods": ["randon"]}, r"^no method 'randon'; close among the baselines: random"),
        ({"n": 0}, r"^n=0; measure at least one"),
        ({"metrics": ["captions"]}, r"does classification; captions are measured of a captioner$"),
        ({"metrics": ["looking"]}, r"does classification; whether it looks is asked of VQA models$"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_picture_is_shown(options: dict[str, Any], message: str) -> None:
    task = colours()
    with pytest.raises(InputError, match=message) as told:
        evaluate(task, Squares(), **options)
    assert len(str(told.value)) <= 300


def test_a_models_name_is_no_task() -> None:
    with pytest.raises(InputError, match=r"^'scenes/captioner' is no task; load one: vlx\.load\(NAME\)$"):
        evaluate(cast(Any, "scenes/captioner"), Squares())


@pytest.mark.parametrize("key", ["gradcam", "", ("gradcam", "logit", "square"), ("gradcam", None)])
def test_a_metrics_keys_are_methods_and_targets(key: Any) -> None:
    own = Metric("mine", "own", lambda _: {key: 1.0})
    with pytest.raises(InputError, match=r"^metric 'mine' measures .*; keys are \(method, target\), two texts$"):
        evaluate(colours(), Squares(), metrics=[own], methods=["gradcam"])


def test_empty_maps_are_counted_in_the_mean_over_groups_too() -> None:
    columns = Columns(
        Record("0", ask, group, "gradcam", "logit", "mine", 0.0, beside={"empty": 1} if ask else {})
        for ask, group in enumerate(["red", "green", "blue"])
    )
    assert [(one.group, one.empty) for one in by_group("mine", columns, Telling())] == [
        *(("red", 0), ("green", 1), ("blue", 1), (MACRO, 2)),
    ]


def test_classes_that_the_model_lacks_are_counted_and_named() -> None:
    class More(Squares):
        def __getitem__(self, number: int) -> Example:
            example = super().__getitem__(number)
            violet = replace(example.asks[0], label="violet")
            return Example(example.key, example.image, asks=[*example.asks, violet])

    result = evaluate(colours(), More(), methods=["gradcam"], targets=["logit"])
    assert [row.count for row in result.rows] == [6]
    assert "3 asks left out: not in the model's words (violet …)" in result.notes


def test_a_picture_that_cannot_be_read_costs_itself_alone() -> None:
    class Broken(Squares):
        def __getitem__(self, number: int) -> Example:
            example = super().__getitem__(number)
            return Example("b.png", "/nowhere/b.png", asks=example.asks) if number == 1 else example

    result = evaluate(colours(), Broken(), methods=["gradcam"], targets=["logit"])
    assert (result.n, [row.count for row in result.rows]) == (2, [4])
    assert "1 left out, cannot be read: b.png" in result.notes


def test_every_metric_is_known_by_its_name_and_says_what_it_asks() -> None:
    assert tuple(METRICS) == command.METRICS
    assert all(metric.name == name and metric.summary.endswith("?") for name, metric in METRICS.items())


def test_the_command_takes_several_of_each_with_commas(tmp_path: Path) -> None:
    model = tiny_bundle(tmp_path / "tiny")
    asked = ("--metrics", "pointing,occlusion", "--methods", "Grad-CAM,centre", "--targets", "logit,prob", "--n", 1)
    told = json.loads(run("evaluate", model, *asked, "--json").stdout)
    assert {(row["method"], row["target"]) for row in told["rows"]} == {
        (method, kind) for method in ("gradcam", "centre") for kind in ("logit", "prob")
    }
    assert {row["metric"] for row in told["rows"]} == {"pointing", "rank correlation"}
    assert told["command"].endswith("--metrics pointing,occlusion --methods gradcam,centre --targets logit,prob --n 1")
    wrong = run("evaluate", model, "--methods", "gradcam,grdcam")
    assert wrong.exit_code == 2
    assert "no method 'grdcam'; close: gradcam" in wrong.stderr


def test_ablations_of_the_paper_are_measured_beside_grad_cam() -> None:
    task = vlx.load("scenes/captioner")
    result = evaluate(task, 1, metrics=["pointing"], targets=["logit"], ablate=True)
    measured = [row.method for row in result.rows if row.group == "object"]
    assert measured[: len(ABLATIONS) + 1] == ["gradcam", *ABLATIONS]
    assert measured[len(ABLATIONS) + 1 :] == [f"gradcam@{layer}" for layer in ablated_layers(task)] != []
    assert result.command.endswith("--n 1 --ablate")


def test_many_groups_are_told_by_their_mean() -> None:
    rows = tuple(
        Figure(group, "gradcam", "logit", "pointing", 0.5, 0.4, 0.6, 0.1, 0.2, 0.3, 9)
        for group in [*map(str, range(13)), MACRO]
    )
    headers = [column.header for column in Result("net", 1, rows, "vlx evaluate net").table().columns]
    assert headers == ["method", "target", MACRO]


def test_a_result_prints_as_its_table_and_its_differences_are_whole() -> None:
    apart = (0.123, 0.045, 0.201)
    rows = tuple(
        Figure(group, "gradcam", "logit", "pointing", 0.5, 0.4, 0.6, 0.1, 0.2, 0.3, 9, ahead=apart, over_random=apart)
        for group in ["object", "color", "texture", "scene", MACRO]
    )
    text = str(Result("net", 1, rows, "vlx evaluate net"))
    assert text.startswith("net, 1 scenes")
    assert "…" not in text
    for word in ("+0.123", "(+0.045", "to", "+0.201)"):
        assert text.count(word) >= 2
    unknown = tuple(replace(row, ahead=(float("nan"),) * 3, over_random=None) for row in rows)
    assert "nan" not in str(Result("net", 1, unknown, "vlx evaluate net"))
