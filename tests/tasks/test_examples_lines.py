"""Examples of a clip, a signal and a text, trained here: their maps rest on what decides; how they are drawn."""

import re
import subprocess
from pathlib import Path
from shutil import which

import numpy as np
import pytest

import vlx
from examples import lines, video
from examples.fitting import right
from vlx.errors import InputError
from vlx.report import along
from vlx.report.film import film, frame_maps
from vlx.tasks.beyond import Signal, Video, Words


@pytest.fixture(scope="module")
def clips() -> Video:
    net = video.trained()
    assert right(net, video.batch) > 0.95
    return Video(net, "5", video.WAYS, video.prepare, frames=video.FRAMES)


def test_a_clip_rests_on_the_thing_that_moves_in_its_frames(clips: Video) -> None:
    for method in ("layercam", "gradcam"):
        found = video.measured(clips, method=method)
        assert found["in its frames"] > 2 * found["by chance"], method
        assert found["on it"] > 5 * max(found["by chance, on it"], found["at the centre"]), method


def test_a_beat_and_words_are_where_they_are() -> None:
    net, reader = lines.signal_net(), lines.text_net()
    assert min(right(net, lines.signals), right(reader, lines.texts)) > 0.95
    beats, texts = (
        Signal(net, "3", lines.BEATS, span=(-4, 4)),
        Words(reader, "conv", lines.OPINIONS, size=len(lines.WORDS)),
    )
    assert lines.measured(beats)["on it"] > 0.8 > 4 * lines.measured(beats)["by chance"]
    assert lines.measured(texts)["on it"] > 0.8 > 2 * lines.measured(texts)["by chance"]


# How they are drawn


def a_clip(clips: Video) -> tuple[vlx.Explanation, np.ndarray]:
    rng = np.random.default_rng(2)
    clip, way, truth = video.shoot(rng)
    while way == 2:
        clip, way, truth = video.shoot(rng)
    return vlx.explain(clips, clips.picture(clip), answer=video.WAYS[way], target="logit", seen=False), truth


def test_frames_are_painted_each_alone(clips: Video) -> None:
    why, truth = a_clip(clips)
    maps = frame_maps(why[0], video.FRAMES)
    assert maps.shape == truth.shape
    rows = why[0].signed.shape[0] // video.FRAMES
    kept = np.maximum(why[0].signed, 0).reshape(video.FRAMES, rows, -1)
    assert ((maps.max((1, 2)) > 0) == (kept.max((1, 2)) > 0)).all()  # no colour runs into a frame that has none
    assert np.allclose(maps[:, ::2, ::2], kept, atol=1e-6)  # cells lie on every other pixel
    with pytest.raises(InputError, match=r"no clip of 7 frames; give the number that the task has"):
        frame_maps(why[0], 7)


def test_the_page_of_a_clip_stands_alone_and_escapes(clips: Video, tmp_path: Path) -> None:
    why, _ = a_clip(clips)
    object.__setattr__(why.words[0], "label", "<b>left</b>")
    page = film(why, tmp_path / "film.html", frames=video.FRAMES).read_text(encoding="utf-8")
    assert "<b>left" not in page
    assert "&lt;b&gt;left" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count("<li ") == video.FRAMES


@pytest.mark.skipif(which("chromium") is None, reason="needs chromium")
def test_the_slider_shows_one_frame_at_a_time(clips: Video, tmp_path: Path) -> None:
    why, _ = a_clip(clips)
    page = film(why, tmp_path / "film.html", frames=video.FRAMES)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{page}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    frames = re.findall(r"<li [^>]*>", shown)
    assert len([one for one in frames if "hidden" not in one]) == 1
    sums = frame_maps(why[0], video.FRAMES).sum((1, 2))
    assert f"{int(sums.argmax()) + 1} of {video.FRAMES}" in re.search(r'id="told">([^<]*)<', shown)[1]  # type: ignore[index]


def test_signals_and_words_are_drawn_and_those_of_another_length_refused(tmp_path: Path) -> None:
    texts = Words(lines.Reader().eval(), "conv", lines.OPINIONS, size=len(lines.WORDS))
    words = ["the", "food", "was", "not", "good"]
    word = vlx.explain(texts, texts.picture(lines.numbers(words)), target="logit", seen=False, check=False)[0]
    values = along.positions(word, 5)
    assert np.allclose(values, word.signed[0], atol=1e-6)  # a cell a word
    page = along.words(word, [*words[:-1], "<script>"])
    assert page.count("<span") == 6
    assert "&lt;script&gt;" in page
    beats = Signal(lines.signal_net(steps=1), "3", lines.BEATS, span=(-4, 4))
    given = lines.record(np.random.default_rng(0))[0]
    figure = along.signal(vlx.explain(beats, beats.picture(given), seen=False, check=False)[0], given)
    figure.savefig(tmp_path / "signal.png")
    assert (tmp_path / "signal.png").stat().st_size > 5000
    with pytest.raises(InputError, match="the map lies on 5 positions, 4 were given"):
        along.words(word, words[:4])
