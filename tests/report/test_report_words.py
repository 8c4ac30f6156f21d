import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.explanations import VERDICT, answer_explanation, asked, caption_explanation, contrast_explanation
from tests.report.test_report_vqa import nasty_answer
from vlx import Explanation, WordExplanation
from vlx.explanation.records import Look, Occlusion, QuestionWord
from vlx.report import colour, html, numbers, pictures, text, wording

CONTROL = "\x1b[2J\x07red"


def printed(why: Explanation, capsys: pytest.CaptureFixture[str]) -> str:
    Console(width=200).print(text.table(why))
    return capsys.readouterr().out


# Terminal, Markdown, figure


def test_the_terminal_tells_question_answer_alternatives_and_probes(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(answer_explanation(), capsys)
    assert "asked: what color is the car?" in shown
    assert "nats lost when left out: what 0.00, color 0.00, is 0.00, the −1.50, car +3.00" in shown
    assert "gradient × embedding: what 0.00, color 0.00, is 0.00, the −0.75, car +1.50" in shown
    assert "it answers: red" in shown
    assert [line.split()[0] for line in shown.splitlines() if re.search(r"^(red|white|blue) ", line)] == [
        "red",
        "white",
        "blue",
    ]
    assert f"{VERDICT}." in shown
    assert "swapped ×4 median 1.3 % (blue ×2, red, green)" in shown
    assert "Occlusion agrees: rank correlation 0.61." in shown


def test_the_terminal_tells_of_a_contrast_and_nothing_that_was_not_asked(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(contrast_explanation(), capsys)
    assert "asked to explain: red rather than white" in shown
    assert "red − white" in shown
    assert "share of “red” between the two by picture: the picture 96.9 %; inverted 29.9 % (white)" in shown
    plain = printed(caption_explanation(), capsys)
    assert not re.search("asked:|bits|ccluson|by picture", plain)
    assert plain.splitlines()[1].split()[0] == "word"


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    why = answer_explanation(question=f"what {CONTROL} [bold]x[/bold]?", text=CONTROL, others=(CONTROL + "1", "b"))
    looks = (Look("blank", (-2.0,), (CONTROL,)),)
    shown = printed(replace(why, words=(replace(why[0], looks=looks),)), capsys)
    assert not re.search("[\x00-\x09\x0b-\x1f]", shown)
    assert "[bold]x[/bold]?" in shown


def test_colours_of_the_terminal_follow_the_sign() -> None:
    console = Console(width=200, force_terminal=True, color_system="256", record=True, file=io.StringIO())
    console.print(text.table(answer_explanation()))
    styled = console.export_text(styles=True).splitlines()[0]
    assert re.search("38;5;208mcar\\?", styled)
    assert re.search("38;5;33mthe", styled)


def test_markdown_tells_the_same_and_takes_no_markup(tmp_path: Path) -> None:
    page = answer_explanation().save(tmp_path / "why.md").read_text(encoding="utf-8")
    assert page.startswith("> what color is *the* **car?**\n\n# red\n\nAnswer by tiny")
    assert "- " + VERDICT.replace("(", "\\(").replace(")", "\\)") + "." in page
    assert [line.split()[1] for line in page.splitlines() if line.startswith("| ")] == [
        "answer",
        "red",
        "white",
        "blue",
    ]
    contrast = contrast_explanation().save(tmp_path / "contrast.md").read_text(encoding="utf-8")
    assert "\n# Why red rather than white\n" in contrast
    assert "| red rather than white |" in contrast
    nasty = nasty_answer().save(tmp_path / "nasty.md").read_text(encoding="utf-8")
    assert "<" not in nasty
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 9 for row in nasty.splitlines() if row.startswith("| "))


def test_the_figure_shows_alternatives_and_the_words_of_the_question(tmp_path: Path) -> None:
    why = answer_explanation()
    figure = why.plot()
    assert len([axis for axis in figure.axes if axis.images]) == 1 + 3
    bars = next(axis for axis in figure.axes if axis.patches and not axis.images)
    assert [label.get_text() for label in bars.get_yticklabels()] == ["what", "color", "is", "the", "car"]
    assert [bar.get_width() for bar in bars.patches] == [0.001, 0.001, 0.001, -1.5, 3.0]
    title = figure.get_suptitle()
    assert "what color is the car?\nred\n3.9 bits" in title
    assert any("each answer on its own scale" in axis.get_xlabel() for axis in figure.axes)
    odd = replace(why, question_words=(QuestionWord("$x_1$", np.nan), QuestionWord("x", np.inf), *asked("is it")))
    bars = next(axis for axis in odd.plot().axes if axis.patches and not axis.images)
    assert [bar.get_width() for bar in bars.patches] == [0, 0, -1.5, 3.0]
    assert not any(label.get_parse_math() for label in bars.get_yticklabels())
    with Image.open(odd.save(tmp_path / "why.png")) as image:
        assert image.format == "PNG"


def test_the_figure_of_a_contrast_has_both_signs() -> None:
    why = contrast_explanation()
    figure = why.plot(scale="shared")
    drawn = pictures.Drawn.of(why, 480).under_signed(why[0].signed, colour.scale(why))
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), drawn)
    titles = [axis.get_title().splitlines()[0] for axis in figure.axes if axis.images]
    assert titles[1:] == ["red − white", "red", "white"]
    bar = next(axis for axis in figure.axes if "one scale" in axis.get_xlabel())
    low, high = bar.get_xlim()
    assert low == -high == pytest.approx(-colour.scale(contrast_explanation()))


# Words for figures


OWN = {f"{n}.png": 1.0 for n in range(20)}
ALIKE = (Look("your own", (-0.01,) * 17 + (-0.05,) * 3, ("x",) * 19 + ("X",)),)


@pytest.mark.parametrize(
    ("logprob", "seen", "by", "looked", "looks", "said"),
    [
        (
            -0.05,
            2.7,
            {"inverted": 2.7},
            1.0,
            (),
            "3.9 bits come from the picture, compared with a reference made of it",
        ),
        (
            -0.05,
            2.7,
            {"inverted": 2.0, "median colour": 3.4},
            1.0,
            (Look("median colour", (-3.45,), ("white",)),),
            "3.9 bits come from the picture (+2.9 to +4.9 by reference), compared with 2 references made of it",
        ),
        (-0.05, None, {}, None, (), ""),
        (-0.1, np.nan, {"inverted": np.nan}, np.nan, (), ""),
        (
            -3.0,
            -2.0,
            {"inverted": -2.0},
            1.0,
            (),
            "the picture speaks against it: −2.9 bits, compared with a reference made of it",
        ),
        (
            -0.1,
            0.02,
            {"inverted": 0.0, "median colour": 0.04},
            0.04,
            (Look("median colour", (-0.14,), ("x",)), Look("inverted", (-0.1,), ("x",))),
            "hardly moved by the picture: log p changes by 0.04 nats on average with 2 references made of it",
        ),
        (-0.1, 1.0, {}, None, (), "1.4 bits come from the picture, compared with a blank picture"),
        (
            np.nan,
            3.25,
            {"inverted": 3.25},
            None,
            (),
            "the picture adds +3.25 to it, compared with a reference made of it",
        ),
        (
            -0.01,
            1.0,
            OWN,
            0.1,
            ALIKE,
            "would have said “x” anyway: 20 of your 20 other pictures give the same, p 95.1 % to 99.0 %",
        ),
    ],
)
def test_the_verdict(
    logprob: float,
    seen: float | None,
    by: dict[str, float],
    looked: float | None,
    looks: tuple[Look, ...],
    said: str,
) -> None:
    word = replace(
        answer_explanation()[0], label="x", logprob=logprob, seen=seen, seen_by=by, looked=looked, looks=looks
    )
    word = replace(word, outputs="value" if np.isnan(logprob) else "softmax")
    assert wording.verdict(word) == said


def blind(count: int, same: int, **options: Any) -> WordExplanation:
    """A word of which ``same`` of ``count`` pictures of one's own give the same."""
    look = Look("your own", (-0.05,) * count, ("x",) * same + ("y",) * (count - same))
    known: dict[str, Any] = {"label": "x", "logprob": -0.05, "seen": 0.01, "looked": 0.01, "looks": (look,), **options}
    return replace(answer_explanation()[0], seen_by={str(n): 0.01 for n in range(count)}, **known)


def test_nothing_is_said_anyway_before_sixteen_pictures_of_ones_own_give_the_same() -> None:
    said = {
        (count, same): "anyway" in wording.verdict(blind(count, same)) for count in (8, 15, 16, 30) for same in (0, 1)
    }
    assert not any(said.values())
    assert [n for n in range(1, 40) if "anyway" in wording.verdict(blind(n, n))] == list(range(16, 40))
    assert [n for n in range(31) if "anyway" in wording.verdict(blind(30, n))] == [29, 30]
    assert "anyway" not in wording.verdict(blind(20, 20, looked=0.2))  # its p moves: it does look
    look = blind(20, 20).looks[0]
    for kind in ("median colour", "plain colour", "swapped", "blurred"):
        assert "anyway" not in wording.verdict(blind(20, 20, looks=(replace(look, kind=kind),)))
    assert "anyway" not in wording.verdict(blind(20, 20), "white")


def test_bits_have_no_negative_zero() -> None:
    assert [numbers.bits(nats) for nats in (-0.02, 0.0, -0.0, 0.04, -1.0)] == ["0.0", "0.0", "0.0", "0.1", "−1.4"]


def test_the_verdict_on_a_contrast() -> None:
    word = contrast_explanation()[0]
    wanted = "the picture moves the lead over “white” by +6.2 bits, compared with a reference made of it"
    assert wording.verdict(word, "white") == wanted
    assert wording.verdict(replace(word, looks=()), "white") == wanted
    assert wording.verdict(replace(word, seen=None), "white") == ""


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (0.61, "occlusion agrees: rank correlation 0.61"),
        (0.2, "occlusion agrees weakly: rank correlation 0.20"),
        (0.0, "occlusion does not agree: rank correlation 0.00"),
        (-0.5, "occlusion disagrees: rank correlation −0.50"),
        (np.nan, "occlusion has nothing to rank: it or the map is the same everywhere"),
    ],
)
def test_agreement_of_occlusion_in_words(found: float, said: str) -> None:
    word = replace(answer_explanation()[0], occlusion=Occlusion(np.zeros((4, 4)), found, 16))
    assert wording.agreement(word) == said
    assert wording.agreement(replace(word, occlusion=None)) == ""


def test_classes_are_not_called_words() -> None:
    why = replace(caption_explanation(), task="classification", question=None)
    page, markdown = html.page(why), text.markdown(why)
    for said in (
        "Why each class",
        "What else it could be",
        "Hover a class",
        "a class’s score",
    ):
        assert said in page
    assert "What could have stood here" not in page
    assert "| class | p |" in markdown
    assert "other likely classes" in markdown
    assert "Why each word" in html.page(caption_explanation())
