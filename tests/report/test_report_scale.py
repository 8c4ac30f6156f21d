"""Maps that can be seen: each on its own scale, its strength beside it, in colours that everyone can tell apart."""

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.explanations import answer_explanation, caption_explanation, reasoned
from tests.report.test_report import Page, page_data
from vlx import Explanation, WordExplanation
from vlx.errors import InputError
from vlx.explanation.map_check import judged
from vlx.report import colour, html, maps, pictures, sentences, strength

# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
EYES: dict[str, Any] = {
    "usual": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colors: Any, eyes: str = "usual") -> NDArray[np.float64]:
    """CIE L*a*b* of sRGB colours 0 to 255, as eyes of a kind see them; its distances are just noticeable at about 2."""
    share = np.asarray(colors, float) / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    xyz = np.clip(linear @ np.array(EYES[eyes]).T, 0, 1) @ XYZ.T / XYZ.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def apart(one: Any, other: Any, eyes: str) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(lab(one, eyes) - lab(other, eyes), axis=-1))


def pictured() -> dict[str, NDArray[np.uint8]]:
    """Dark, light, red and mixed pictures."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 40, (40, 40, 3))
    return {
        "dark": noise.astype(np.uint8),
        "light": (255 - noise).astype(np.uint8),
        "red": np.clip(noise + np.array([200, 0, 0]), 0, 255).astype(np.uint8),
        "mixed": rng.integers(0, 256, (40, 40, 3)).astype(np.uint8),
    }


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("view", ["for", "against"])
def test_the_ramp_grows_lighter_step_by_step_for_all_eyes(view: str, eyes: str) -> None:
    seen = lab(colour.ramp(view), eyes)
    steps = np.diff(seen[:, 0])
    assert seen[-1, 0] - seen[0, 0] > 45
    assert steps.min() > 0
    assert steps.max() < 2 * steps.mean()
    assert np.linalg.norm(np.diff(seen[::4], axis=0), axis=1).min() > 2  # sixteen steps can be told apart


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("kind", pictured())
def test_low_values_show_on_every_picture_and_zero_does_not(kind: str, eyes: str) -> None:
    picture = colour.muted(pictured()[kind])
    assert np.ptp(picture, axis=2).max() == 0  # no colour of its own that could be read as heat
    flat = np.ones(picture.shape[:2])
    np.testing.assert_array_equal(colour.overlay(picture, 0 * flat, 1.0), picture)
    for view in colour.RAMPS:
        for share, least in ((0.1, 8), (0.25, 16), (0.5, 20), (1.0, 12)):
            drawn = colour.overlay(picture, share * flat, 1.0, view)
            assert apart(drawn, picture, eyes).min() > least, (view, share)


@pytest.mark.parametrize("eyes", EYES)
def test_what_speaks_for_a_word_is_told_from_what_speaks_against_it(eyes: str) -> None:
    for kind, picture in pictured().items():
        muted = colour.muted(picture)
        for share in (0.1, 0.25, 0.5, 1.0):
            flat = np.full(muted.shape[:2], share)
            warm, cold = (colour.overlay(muted, flat, 1.0, view) for view in ("for", "against"))
            assert apart(warm, cold, eyes).min() > 14, (kind, share)


def test_the_pages_grey_is_the_figures_grey() -> None:
    page = html.page(caption_explanation())
    matrix = np.array([float(n) for n in re.search(r'feColorMatrix values="([^"]*)"', page)[1].split()]).reshape(4, 5)  # type: ignore[index]
    image = pictured()["mixed"]
    painted = image @ matrix[:3, :3].T + 255 * matrix[:3, 4]
    assert np.abs(painted - colour.muted(image)).max() < 1


def checked(word: WordExplanation, fall: float, **changes: Any) -> WordExplanation:
    """The word with a check in which its cells take so many nats, random ones next to nothing."""
    return replace(word, check=judged(fall, [0.0, 0.02] * 10, cells=2), **changes)


def weighed() -> Explanation:
    """Words whose checks take 2, 0.3, and nothing; the last, and the one before it, owe the picture nothing."""
    why = caption_explanation(cropped=False)
    falls, seen = (2.0, 0.3, 0.0, 2.0, 0.0), (2.5, 1.0, 0.0, 0.0, 1.0)
    words = [
        checked(word, fall, seen=owed, looked=min(owed, 1.0)) for word, fall, owed in zip(why, falls, seen, strict=True)
    ]
    return replace(why, words=tuple(words))


def test_strength_is_what_the_check_takes_of_p_else_what_other_pictures_take() -> None:
    why = weighed()
    assert [strength.of(word) for word in why] == pytest.approx([1 - np.exp(-fall) for fall in (2, 0.3, 0, 2, 0)])
    assert strength.measured(why) == "p lost without its map"
    plain = caption_explanation()
    assert [strength.of(word) for word in plain] == pytest.approx(
        [1 - np.exp(-2.5), 1 - np.exp(-0.01), 0, *[1 - np.exp(-nats) for nats in (1.0, 0.2)]]
    )
    assert strength.measured(plain) == "p lost with other pictures"
    nothing = replace(plain[0], seen=None)
    assert strength.of(nothing) is None
    assert strength.fade(nothing) == 1
    assert strength.carried(nothing)


def test_a_map_fades_where_nothing_carries_its_word() -> None:
    why = weighed()
    assert [strength.carried(word) for word in why] == [True, True, False, True, True]
    fades = [strength.fade(word) for word in why]
    assert fades[0] == fades[3] == 1
    assert fades[2] == strength.PALE
    assert strength.PALE < fades[1] < 1
    assert [strength.fade(word, "shared") for word in why] == [1] * 5
    unproven = checked(why[0], 0.0, seen=0.1, looked=0.1)
    assert strength.fade(unproven) == strength.PALE  # and not a little more for its .1 nats
    random = replace(unproven, check=judged(0.3, [0.0, 0.6] * 10, cells=2))  # random cells take as much
    assert strength.of(random) == pytest.approx(1 - np.exp(-0.3))
    assert strength.fade(random) == strength.PALE


def change(still: str) -> float:
    """How opaque a still is at most."""
    image = Image.open(io.BytesIO(base64.b64decode(still.partition(",")[2])))
    return float(np.asarray(image.convert("RGBA"))[..., 3].max()) / 255


def test_on_the_page_every_map_has_its_own_scale_and_what_nothing_carries_is_not_hot() -> None:
    why = weighed()
    weak = replace(why.words[1], signed=why.words[1].signed / 1000, opposed=why.words[1].opposed / 1000)
    why = replace(
        why, words=(why[0], weak, replace(why[2], signed=why[0].signed, opposed=why[0].opposed), *why.words[3:])
    )
    page = html.page(why)
    places = re.findall(r'<article class="one[^>]*?data-item="(\d)".*?class="map" href="([^"]*)"', page, re.S)
    stills = dict(sorted((int(number), address) for number, address in places))
    own = colour.peak([why[0]])
    reached = max(why[0].signed.max() / own, 0) ** colour.RISE * colour.OPACITY
    assert change(stills[0]) == pytest.approx(reached, abs=0.15)
    assert change(stills[1]) > 0.3  # a thousand times weaker than its neighbour, and to be seen
    assert change(stills[2]) < 0.31 * change(stills[0])
    assert [item["fade"] for item in page_data(page)["panels"][0]["items"]][2] == strength.PALE
    faded = [int(one["data-item"] or 0) for one in Page(page).named("article", "faded")]
    assert [number for number in faded if number < 5] == [2]
    assert "faded: nothing carries it" in page


def test_stills_are_the_map_as_the_placement_paints_it() -> None:
    why = caption_explanation()
    values = np.maximum(why[0].signed, 0)
    still = maps.Painter(why.placement).still(values, float(values.max()))
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(still.partition(",")[2]))).convert("RGBA")).astype(float)
    share = colour.painted(values, why.placement, (60, 90)) / values.max()
    np.testing.assert_allclose(found[..., 3] / 255, colour.OPACITY * share**colour.RISE, atol=0.06)
    assert np.all(found[:, :15, 3] == 0)  # not seen by the model
    peak = np.unravel_index(share.argmax(), share.shape)
    np.testing.assert_allclose(found[peak][:3], colour.ramp("for")[-1], atol=12)


def test_maps_come_back_from_the_page_to_half_a_step() -> None:
    for values in (np.random.default_rng(0).normal(size=(5, 7)), np.zeros((5, 7)), np.full((5, 7), 1e-30)):
        for kind in maps.STEPS:
            sent = maps.grid(values, kind)
            assert np.abs(maps.cells_of(sent, (5, 7), kind) - values).max() <= 0.501 * sent["step"]


def test_scales_are_asked_for_by_name() -> None:
    assert [strength.scale(name) for name in ("own", "shared")] == ["own", "shared"]
    with pytest.raises(InputError, match=r"scale='each'; give \"own\" \(each map its own\) or \"shared\""):
        strength.scale("each")
    why = weighed()
    assert strength.top(why[1], why, "shared") == colour.scale(why) > strength.top(why[1], why, "own") > 0


def test_in_the_figure_every_map_has_its_own_scale_a_bar_and_fades() -> None:
    why = weighed()
    weak = replace(why.words[1], signed=why.words[1].signed / 1000, opposed=why.words[1].opposed / 1000)
    why = replace(
        why, words=(why[0], weak, replace(why[2], signed=why[0].signed, opposed=why[0].opposed), *why.words[3:])
    )
    muted = pictures.Drawn.of(why, 480).muted.astype(int)
    drawn: dict[str, list[float]] = {}
    for scale in strength.SCALES:
        figure = why.plot(scale=scale)
        panels = [axis for axis in figure.axes if axis.images][1:]
        drawn[scale] = [
            float(np.abs(np.asarray(axis.images[0].get_array()).astype(int) - muted).max()) for axis in panels
        ]
        bars = [max(part.get_width() for part in axis.patches[1:]) for axis in panels]
        assert bars == pytest.approx([strength.of(word) for word in why])
    assert drawn["own"][1] > 60
    assert drawn["shared"][1] < 8
    assert drawn["own"][2] < 0.4 * drawn["own"][0]
    assert drawn["shared"][2] == drawn["shared"][0]
    label = next(axis.get_xlabel() for axis in why.plot().axes if "scale" in axis.get_xlabel())
    assert label.splitlines()[:3] == [
        "each word on its own scale",
        "bars: p lost without its map",
        "palest: nothing that was tried carries the word",
    ]
    with pytest.raises(InputError, match="scale='log'"):
        why.plot(scale="log")


# The sentence


def test_the_sentence_tells_reasons_marks_and_what_of_p_the_picture_gives() -> None:
    why = reasoned(caption_explanation())
    because = why[0].because
    assert because is not None
    assert sentences.concepts(because) == "fur 0, fur 1 itself, fur 2 (37 % of the evidence)"
    assert sentences.marks(because) == "units matter, 1/2 names hold"
    assert sentences.owed(why[0]) == "92 % of its p comes from the picture"
    assert sentences.owed_exactly(why[0]) == "+2.50 nats, compared with a reference made of it"
    held = replace(because, reasons=tuple(replace(one, named=True) for one in because.reasons))
    assert sentences.marks(held) == "both marks"
    assert sentences.marks(replace(held, check=None)) == "not tried"
    page = "".join(Page(html.page(why)).texts).replace("\xa0", " ")
    assert "a: fur 0, fur 1 itself, fur 2 (37 % of the evidence) · units matter, 1/2 names hold · 92 % of its p" in page


@pytest.mark.parametrize(
    ("seen", "looked", "said"),
    [
        (2.813, 1.0, "94 % of its p comes from the picture"),
        (9.0, 1.0, "> 99 % of its p comes from the picture"),
        (0.25, 0.25, "only 22 % of its p comes from the picture"),
        (-0.4, 0.4, "the picture speaks against it: without it p is 1.5 × as large"),
        (0.02, 0.02, "the picture hardly moves its p"),
        (None, None, ""),
        (float("nan"), None, ""),
    ],
)
def test_what_of_p_comes_from_the_picture(seen: float | None, looked: float | None, said: str) -> None:
    word = replace(caption_explanation()[0], seen=seen, looked=looked, seen_by={"inverted": seen or 0.0})
    assert sentences.owed(word) == said


def test_a_contrast_is_told_in_times() -> None:
    word = replace(answer_explanation()[0], seen=4.3)
    assert sentences.owed(word, "white") == "the picture makes it 74 × likelier against “white”"
    assert sentences.owed(replace(word, seen=-0.7), "white") == "the picture makes it 2.0 × less likely against “white”"


def test_every_term_leads_to_its_meaning_and_none_stands_there_unused() -> None:
    for why in (caption_explanation(), reasoned(answer_explanation())):
        page = Page(html.page(why))
        linked = {one["href"] for one in page.named("a", "term")}
        meant = {"#" + str(found["id"]) for _, found in page.tags if str(found.get("id", "")).startswith("term-")}
        assert linked == meant
        assert len(linked) > 5


def test_a_page_without_its_picture_says_so() -> None:
    why = caption_explanation()
    told = "the picture was not kept with this explanation"
    assert told in html.page(replace(why, missing="0" * 64))
    assert told not in html.page(why)


def test_without_a_script_picture_words_sentence_and_a_map_are_there() -> None:
    why = reasoned(weighed())
    page = re.sub(r"<script\b.*?</script>", "", html.page(why), flags=re.S)
    head = page[: page.index('class="all"')]
    assert head.count('class="plain"') == head.count('class="map still"') == 1
    assert all(f">{word.label}<" in head for word in why.words[:3])
    assert 'class="answer"><b>' in head
    assert pictures.address(colour.hatched(why.image, why.visible)) in head
