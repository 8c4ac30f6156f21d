"""A method is one record, known by name however it is spelled, and anybody's own is as good as those that are here."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests.explanation.test_map_check import colours, squares
from tests.fakes import captioner, picture
from tests.patchy import Patchy
from vlx import evaluation, neuron_names, scenes
from vlx.errors import InputError
from vlx.methods import names, registry, several
from vlx.methods.attention import ATTENTION_METHODS
from vlx.methods.cams import METHODS, Weighting
from vlx.methods.engine import Attribution
from vlx.methods.hiding import OCCLUSION
from vlx.methods.method import Method, Site, attribution, cam
from vlx.methods.variants import VARIANTS
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Query, Target, word_target
from vlx.protocol.task import Features, Task
from vlx.report import wording


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OWN", {})


def brightest(task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    """The picture's own brightness on A's cells: a map that knows nothing of the model."""
    assert site.inputs is not None
    grey = site.inputs[[site.picture_of(target.row) for target in targets]].mean(1, keepdim=True)
    maps = torch.nn.functional.adaptive_avg_pool2d(grey, site.features.grid.shape)[:, 0]
    return attribution(task, site, targets, maps)


def test_anybodys_own_method_explains_is_put_into_words_and_is_measured() -> None:
    own = Method(
        "Brightness",
        "",
        "how bright the picture is",
        brightest,
        unit="brightness",
        sentence="Bright places, which",
        noun="bright places",
        evidence=False,
        gradient=False,
    )
    task, scene = vlx.load("scenes/captioner"), scenes.draw(10_000_021)
    word = vlx.explain(task, scene.image, method=own, seen=False, check=False)[0]
    grey = task.prepare(scene.image).mean(0).numpy()
    assert np.allclose(word.signed, grey.reshape(16, 8, 16, 8).mean((1, 3)), atol=1e-5)
    assert (word.method, wording.unit(word)) == ("Brightness", "brightness")
    assert wording.meaning(word, "for") == (
        f"Bright places, which most raise the logit of “{word.label}”. An illustration, not evidence: "
        "it hardly depends on the model."
    )
    assert "bright places, which most raise" in vlx.explain(task, scene.image, method="brightness")._repr_html_()


def test_anybodys_own_weighting_is_compared_with_the_others() -> None:
    own = cam(Weighting("abscam", lambda A, G: (A * G).abs().sum(1), False, "", "absolute contributions", "hirescam"))
    registry.register(own)
    task = colours()
    assert registry.compared(task)[-1] is own
    why = vlx.explain(task, squares(0, 1), method="AbsCAM", seen=False)
    assert why[0].against_method == "hirescam"
    assert (why[0].signed >= 0).all()
    assert {row.method for row in vlx.recommend(task, [squares(0, 1), squares(1)]).rows} == {*METHODS, "abscam"}


ILLUSTRATIONS = {"deconvolution", "guided", "guided-gradcam", "deconvolution-gradcam"}
UNLISTED = [*VARIANTS, registry.choose("deconvolution-gradcam")]
READOUTS = {"lens", "lens-context"}


def test_the_command_lines_table_is_the_registrys() -> None:
    assert tuple(method.name for method in VARIANTS) == names.ABLATIONS
    assert tuple(method.name for method in UNLISTED) == names.UNLISTED
    assert not any(method.listed for method in UNLISTED)
    assert registry.NAMES == names.METHODS == tuple(method.name for method in registry.methods())


@pytest.mark.parametrize("method", [*registry.methods(), *UNLISTED], ids=lambda method: method.name)
def test_every_method_says_what_it_is(method: Method) -> None:
    assert method.paper
    assert method.summary
    assert method.evidence == (method.name not in ILLUSTRATIONS | READOUTS)
    assert ("not an attribution" in method.disclaimer) == (method.name in READOUTS)
    assert (
        "{score}" in method.unit or method.unit == "relevance" or "probabilit" in method.unit or method.name in READOUTS
    )
    if method.name == "excitation":
        assert method.against == method.name, "it has a map of its own for the dual"
    elif method.signed:
        assert registry.choose(method.against).linear, "what speaks against it is by a method that knows both signs"
    else:
        assert not method.against
        assert not method.linear


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("gradcam", "gradcam"),
        ("Grad-CAM", "gradcam"),
        ("grad_cam", "gradcam"),
        ("HiResCAM", "hirescam"),
        ("gradcam++", "gradcam++"),
        ("Grad-CAM++", "gradcam++"),
        ("GradCAMPlusPlus", "gradcam++"),
        ("XGrad-CAM", "xgradcam"),
        ("Layer CAM", "layercam"),
    ],
)
def test_choose_takes_any_spelling(spelled: str, name: str) -> None:
    assert registry.choose(spelled).weighting is METHODS[name]
    assert registry.choose(registry.choose(name)) is registry.choose(name)


def test_choose_names_what_there_is() -> None:
    known = r"Known: gradcam, hirescam, gradcam\+\+, xgradcam, layercam, .*, occlusion, lens, lens-context, auto$"
    with pytest.raises(InputError, match=r"^no method 'hirecam'; close: hirescam.*" + known):
        registry.choose("hirecam")
    with pytest.raises(InputError, match=r"^no method 'lime'\. " + known):
        registry.choose("lime")


@pytest.mark.parametrize("name", ["gradcam", "Grad-CAM", "occlusion", "auto"])
def test_nobodys_own_method_takes_the_place_of_one_of_these(name: str) -> None:
    own = Method(name, "", "", brightest)
    with pytest.raises(InputError, match=rf"^method '{name}': the name is taken by vlx's own"):
        registry.register(own)
    with pytest.raises(InputError, match=r"the name is taken"):
        vlx.explain(captioner(), picture(), method=own)
    wrong: Any = METHODS["gradcam"]
    with pytest.raises(InputError, match=r"^register\(\) takes a vlx\.methods\.method\.Method, got Weighting$"):
        registry.register(wrong)


def test_a_method_defined_again_is_the_new_one() -> None:
    first, second = (Method("mine", "", told, brightest) for told in ("first", "second"))
    assert registry.choose(first).summary == "first"
    registry.choose(second)
    assert registry.choose("mine") is second
    assert [method.name for method in registry.methods()].count("mine") == 1


def test_of_a_map_of_a_method_from_elsewhere_no_more_is_said_than_is_known() -> None:
    why = vlx.explain(captioner(), picture(), seen=False)
    word = replace(why[0], method="theirs")
    assert wording.meaning(word, "for").startswith("Places that, as theirs has it, most raise")
    assert wording.unit(word) == "units of theirs"
    told = wording.maps_are(replace(why, method="theirs"))
    assert told.endswith("What they are evidence of is told by who made theirs.")
    assert "as {odd} has it" in wording.meaning(replace(word, method="{odd}"), "for")
    assert wording.unit(replace(word, method="{odd}")) == "units of {odd}"


def _making(maps: Any) -> Method:
    return Method("odd", "", "", lambda task, site, targets: attribution(task, site, targets, maps(len(targets))))


NOTHING: Any = lambda task, site, targets: None  # noqa: E731


def _weighing(maps: Any) -> Method:
    return cam(Weighting("odd", lambda A, G: maps(A, G), False, "", "", "hirescam"))


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (Method("odd", "", "", NOTHING), r"makes NoneType, not an Attribution; .*attribution"),
        (_making(lambda n: torch.zeros(n, 9, 9)), r"makes maps of shape \[\d+, 9, 9\], not \[N, h, w\] = \["),
        (_making(lambda n: torch.zeros(1, 4, 4)), r"makes maps of shape \[1, 4, 4\], not \[N, h, w\] = \[\d\d?, "),
        (_making(lambda n: torch.full((n, 4, 4), float("nan"))), r"makes maps"),
        (_weighing(lambda A, G: None), r"makes no maps but NoneType; return a tensor"),
        (_weighing(lambda A, G: (A * G).sum((1, 2, 3))), r"makes maps of shape \[\d+\], not \[N, h, w\]"),
        (_weighing(lambda A, G: (A * G).sum(1)[:, :1]), r"makes maps of shape \[\d+, 1, "),
        (_weighing(lambda A, G: (A * G).sum(1) / 0), r"makes maps with NaN or infinite values; give such cells 0"),
    ],
)
def test_a_method_that_makes_no_maps_is_refused_by_name(method: Method, told: str) -> None:
    with pytest.raises(InputError, match=rf"^method 'odd' {told}"):
        vlx.explain(captioner(), picture(), method=method, seen=False, check=False)
    features, _, targets = targets_of(captioner(), 1)
    with pytest.raises(InputError, match=rf"^method 'odd' {told}"):
        several.maps_of(captioner(), Site(features), targets, [method])


def test_a_record_that_can_be_no_method_is_refused_when_it_is_made() -> None:
    wrong: Any = 3
    with pytest.raises(InputError, match=r"^method 'odd': attribute is a function, got 3$"):
        Method("odd", "", "", wrong)
    with pytest.raises(InputError, match=r"^method 'odd': a weighting's map is a function \(A, G\) → S, got 3$"):
        Weighting("odd", wrong, False, "", "", "")
    for name in (wrong, "two\nlines"):
        with pytest.raises(InputError, match=r"^a method's name is a word, got "):
            Method(name, "", "", brightest)


def targets_of(task: Task, count: int) -> tuple[Any, torch.Tensor, list[Target]]:
    inputs = torch.stack([task.prepare(picture(seed)) for seed in range(count)])
    features = task.features(inputs)
    said = task.predict(features, [Query()] * count)
    pairs = [(row, n) for n in range(2) for row in range(count)]
    return features, inputs, [word_target(said[row], n, row, "logprob") for row, n in pairs]


def test_hiding_takes_the_rows_of_several_pictures_each_by_itself() -> None:
    task = captioner()
    features, inputs, targets = targets_of(task, 3)

    def filling(number: int) -> torch.Tensor:
        return torch.full_like(inputs[0], 0.1 * number)

    found = OCCLUSION.attribute(task, Site(features, inputs, filling), targets)
    for n, target in enumerate(targets):
        one = Site(features, inputs, filling).row(target.row)
        alone = OCCLUSION.attribute(task, one, [replace(target, row=0)])
        torch.testing.assert_close(found.signed[n], alone.signed[0])
        torch.testing.assert_close(found.scores[n], alone.scores[0])
        torch.testing.assert_close(found.weights[n], alone.weights[0])
    assert OCCLUSION.grid(Site(features, inputs, filling)).shape == found.signed.shape[1:]
    with pytest.raises(InputError, match=r"^occlusion hides parts of the picture, and none is at this site"):
        OCCLUSION.attribute(task, Site(features), targets)


@pytest.mark.parametrize("task", [captioner(), Patchy()], ids=["captioner", "patchy"])
def test_maps_of_several_methods_are_each_ones_own(task: Any) -> None:
    features, _, targets = targets_of(task, 2)
    methods = registry.compared(task)
    assert [m.name for m in methods] == [*METHODS, *(["gradattention"] if isinstance(task, Patchy) else [])]
    site, own = Site.of(task, features, targets)
    for name, maps in several.maps_of(task, site, own, methods).items():
        torch.testing.assert_close(maps, registry.choose(name).attribute(task, site, own).signed)


@pytest.fixture
def _blip() -> Iterator[Any]:
    pytest.importorskip("transformers")
    from vlx.tasks.captioning.blip import adapter
    from vlx.tasks.huggingface import tiny

    yield adapter(*tiny.build("blip-captioning"), name="blip")


def test_reasons_are_measured_of_a_model_whose_default_is_attention(_blip: Any) -> None:
    assert _blip.defaults.method in ATTENTION_METHODS
    table = neuron_names.dissect(_blip, neuron_names.open_data("scenes:6"), quantile=(0.05,))
    found = evaluation.grounds(_blip, 1, names=table, tables=1)
    assert found.rows


def test_a_row_of_a_site_is_of_its_own_picture_in_all_that_it_holds() -> None:
    A, rest = torch.arange(48.0).reshape(3, 2, 2, 4), {"tokens": (torch.tensor([[10.0], [20.0], [30.0]]),)}
    site = Site(Features({"a": A, "b": -A}, "a", Grid.half_pixel((2, 4), (8, 16)), rest), pictures=(0, 0, 1))
    row = site.row(2)
    assert torch.equal(row.features.A, A[2:])
    assert torch.equal(row.features.maps["b"], -A[2:])
    assert row.features.rest["tokens"][0].tolist() == [[30.0]]
    assert row.pictures == (1,)
    two = site.features.rows([2, 0])
    assert torch.equal(two.A, A[[2, 0]])
    assert two.rest["tokens"][0].tolist() == [[30.0], [10.0]]


def test_a_message_stays_short_whatever_was_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"own{n}": replace(registry.choose("gradcam"), name=f"own{n}") for n in range(60)}
    monkeypatch.setattr(registry, "_OWN", many)
    with pytest.raises(InputError, match=r"^no method 'grdcam'; close: gradcam.*Known: gradcam, hirescam") as raised:
        registry.choose("grdcam")
    assert len(str(raised.value)) < 300
