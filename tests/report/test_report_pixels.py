"""Maps in pixels as they are drawn: fine, without a sign, and told as an illustration where they are one."""

import io
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import vlx
from tests.fakes import captioner, picture
from tests.report.test_report import TEMPLATES, page_data
from vlx import Explanation
from vlx.cli.program import main
from vlx.pictures.placement import Frame, Grid, Placement, paint_at
from vlx.report import colour, figure, html, maps, text, wording

ILLUSTRATION = "illustration, not evidence"
CAUTION = "such maps hardly react to the weights of the upper layers (arXiv 1810.03292)"


@cache
def why(method: str, other: str = "") -> Explanation:
    task = captioner("attention")
    said = vlx.explain(task, picture())
    rather = {0: other} if other else None
    return vlx.explain(task, picture(), method=method, caption=said.text, instead_of=rather)


def terminal(shown: Explanation) -> str:
    held = io.StringIO()
    Console(file=held, width=160).print(text.table(shown))
    return held.getvalue()


@pytest.mark.parametrize("method", ["deconvolution", "guided", "guided-gradcam"])
def test_what_is_an_illustration_is_told_as_one_everywhere(method: str, tmp_path: Path) -> None:
    shown = why(method)
    assert f"{method} is an {ILLUSTRATION}: {CAUTION}" in shown.notes
    told = [label.get_text() for axis in figure.draw(shown).axes for label in [axis.xaxis.label]]
    assert any(f"An {ILLUSTRATION}: {CAUTION}." in line for line in told)
    assert f"An {ILLUSTRATION}: {CAUTION}." in wording.meaning(shown[0], "for")
    page = shown.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert page.count(f"An {ILLUSTRATION}") > 1
    assert ILLUSTRATION in terminal(shown)
    assert ILLUSTRATION in shown.save(tmp_path / "why.md").read_text(encoding="utf-8")
    assert any(ILLUSTRATION in note for note in json.loads(shown.save(tmp_path / "why.json").read_text())["notes"])
    for ending in ("json", "h5"):
        again = Explanation.load(shown.save(tmp_path / f"why.{ending}"))
        np.testing.assert_array_equal(again[0].signed, shown[0].signed)
        assert again.placement == shown.placement
        assert wording.illustration(again)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "smoothgrad", "gradcam"])
def test_what_is_evidence_is_not(method: str, tmp_path: Path) -> None:
    shown = why(method)
    page = shown.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert "llustration, not" not in page
    assert not any(ILLUSTRATION in note for note in shown.notes)


def views(page: str) -> set[str]:
    return set(re.findall(r'name="view-0" value="(\w+)"', page))


@pytest.mark.parametrize(
    ("method", "other"),
    [
        *((method, "") for method in ("gradient", "guided", "guided-gradcam", "smoothgrad", "deconvolution")),
        ("guided", "dog"),
    ],
)
def test_maps_without_a_sign_show_nothing_against(method: str, other: str, tmp_path: Path) -> None:
    shown = why(method, other)
    assert not shown[0].opposed.any()
    assert (shown[0].signed >= 0).all()
    assert (shown[0].against_method, shown[0].counterfactual) == ("", False)
    page = shown.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert views(page) == {"for"}
    assert "peak against" not in page
    assert "up or down" in wording.meaning(shown[0], "for", other or None)
    assert wording.meaning(shown[0], "against") == wording.NO_SIGN
    assert "raise" not in wording.maps_are(shown)
    assert "| peak |" in shown.save(tmp_path / "why.md").read_text(encoding="utf-8")
    labels = [tick.get_text() for axis in figure.draw(shown).axes for tick in axis.get_xticklabels()]
    assert "against" not in labels


def test_a_signed_map_in_pixels_shows_both_sides(tmp_path: Path) -> None:
    shown = why("integrated-gradients")
    assert (shown[0].opposed == -shown[0].signed).all()
    assert views(shown.save(tmp_path / "why.html").read_text(encoding="utf-8")) == {"for", "against", "signed"}
    assert "on the way from a blank picture, most raise" in wording.meaning(shown[0], "for")


# How they are drawn.


def test_of_pixels_finer_than_the_users_the_mean_is_drawn() -> None:
    values = np.indices((32, 48)).sum(0) % 2  # a chequered map: every second pixel
    fine = Placement(Grid.of_pixels((32, 48)), Frame.whole((8, 12), (32, 48)))
    np.testing.assert_allclose(fine.paint(values), 0.5, atol=0.01)
    np.testing.assert_allclose(fine.paint(np.ones((32, 48))), 1, atol=1e-6)
    coarse = Placement(Grid.of_pixels((4, 6)), Frame.whole((8, 12), (4, 6)))
    cells = np.random.default_rng(0).normal(size=(4, 6))
    plain = Placement(Grid((0.0, 0.0), (1.0, 1.0), (4, 6), (4, 6)), coarse.frame)
    np.testing.assert_array_equal(coarse.paint(cells), plain.paint(cells))
    cells = np.random.default_rng(0).normal(size=(32, 48))
    patches = Placement(Grid((0.0, 0.0), (1.0, 1.0), (32, 48), (32, 48)), fine.frame)  # cells of A as ever
    assert patches.paint(cells).std() > 1.5 * fine.paint(cells).std()


@pytest.mark.parametrize("size", [(60, 90), (700, 500), (20, 10)])
def test_a_page_gets_what_it_draws(size: tuple[int, int]) -> None:
    placement = Placement(Grid.of_pixels((48, 48)), Frame.whole(size, (48, 48)))
    values = np.random.default_rng(0).normal(size=(48, 48)).astype(np.float32)
    sent = maps.Sent(placement)
    assert sent.grid == tuple(min(length, 48) for length in size)
    got = maps.cells_of(sent.cells(values, 1.5), sent.grid, "i1")
    np.testing.assert_allclose(got, np.clip(paint_at(values, placement, sent.grid), -1.5, 1.5), atol=0.01)
    for axis, length, cells in zip(sent.axes, size, sent.grid, strict=True):  # each is drawn where it was taken
        np.testing.assert_allclose(axis.mixing(cells), np.eye(cells), atol=1e-9)
        assert (axis.pixels, axis.cells, axis.first, axis.stop) == (length, cells, 0, length)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the page's painting is not run")
def test_the_pages_painting_is_the_figures() -> None:
    shown = why("integrated-gradients")
    panel = page_data(html.page(shown))["panels"][0]
    height, width = panel["grid"]
    program = f"""{(TEMPLATES / "page.js").read_text(encoding="utf-8")}
      const panel = {json.dumps(panel)};
      const item = opened(panel.items[0], panel.grid, panel.bytes);
      console.log(JSON.stringify([...paint(cellsOf(item, "signed"), panel.axes, panel.size, {height}, {width})]));"""
    run = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    end = wording.ending(shown[0])
    wanted = np.clip(paint_at(shown[0].signed, shown.placement, (height, width)), -end, end)
    np.testing.assert_allclose(np.array(json.loads(run.stdout)).reshape(height, width), wanted, atol=end / 100)


def test_of_a_coarse_map_it_gets_the_cells() -> None:
    shown = why("gradcam")
    sent = maps.Sent(shown.placement)
    assert (sent.grid, sent.kind) == ((4, 4), "i2")
    assert sent.cells(shown[0].signed, 0.0) == maps.grid(shown[0].signed)


def test_a_few_pixels_do_not_stretch_the_colours() -> None:
    shown = why("gradient")
    values = np.sort(shown[0].signed[shown[0].signed > 0])
    assert colour.peak([shown[0]]) == pytest.approx(float(np.quantile(values, 0.995)))
    assert colour.peak([shown[0]]) < values[-1]
    assert wording.end(shown) == "99.5 % of pixels"
    coarse = why("gradcam")
    assert colour.peak([coarse[0]]) == np.abs(coarse[0].signed).max()
    assert wording.end(coarse) == "peak"


# On the command line.


@pytest.mark.parametrize("name", ["Guided Backprop", "gradcam-max"])
def test_the_command_line_takes_them_by_any_spelling(name: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    vlx.scenes.draw(10_000_021).image.save(path)
    given = ["caption", str(path), "--model", "scenes/captioner", "--method", name, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert (ILLUSTRATION in done.output) == (name == "Guided Backprop")


def test_an_answer_by_pixels_leaves_occlusion_out(tmp_path: Path) -> None:
    scene = vlx.scenes.draw(10_000_021)
    scene.image.save(tmp_path / "scene.png")
    given = [
        "answer",
        str(tmp_path / "scene.png"),
        scene.questions[0].text,
        "--model",
        "scenes/vqa",
        "--method",
        "gradient",
    ]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output


def test_help_lists_no_ablation() -> None:
    told = CliRunner().invoke(main, ["caption", "--help"]).output
    assert "guided-gradcam" in told
    assert "gradcam-norelu" not in told
