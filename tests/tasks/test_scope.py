"""What lies outside of what a model was made for is told, per picture; what cannot be proven is not."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

import vlx
from benchmarks import light_ground
from tests.explanations import answer_explanation, caption_explanation
from tests.fakes import TinyCnn, captioner, picture
from tools import kinds as tool
from vlx import Explanation, scenes
from vlx.errors import ModelError
from vlx.protocol.powers import powers_of
from vlx.report import figure, text
from vlx.scenes.likeness import likeness
from vlx.tasks.photos import scope
from vlx.tasks.photos.features import Maps
from vlx.tasks.photos.kinds import Kinds, forms, imagenet
from vlx.tasks.photos.network import PhotoCnn
from vlx.tasks.photos.scope import Scope, TrainedOn

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
TOLD = "out of scope: to the CNN this is a macaw"


NAMES = (
    *("macaw", "parrot", "bird"),
    *("tabby", "tiger cat", "domestic cat", "cat"),
    *("beagle", "pug", "dog"),
    *("hot dog", "sea"),
)
WIDER = ((1,), (2,), (), (5,), (5,), (6,), (), (9,), (9,), (), (), ())
SMALL = Kinds(tuple((name,) for name in NAMES), WIDER, (0, 3, 4, 7, 8, 10, 11))
BEAGLE = 3
COUNTS = {"bird": 191, "birds": 58, "cat": 144, "dog": 6276, "dogs": 1783}
MET = TrainedOn(36_052, 7_217, (0, 3, 2, 40, 9, 0, 26))


def unused(last: Tensor) -> Tensor:
    raise AssertionError("no classes are asked for")


def told(said: str = "a man in a red shirt", met: TrainedOn = MET, counts: dict[str, int] = COUNTS, **p: float) -> str:
    """What is told of classes with these probabilities; the rest goes to dogs."""
    rows = [p.get(name, 0.0) for name in ("macaw", "tabby", "tiger_cat", "beagle", "pug", "hot_dog", "sea")]
    rows[BEAGLE] += 1 - sum(rows)
    found = Scope(unused, counts, met, SMALL).told(rows, said)
    assert len(found) <= 1
    return "".join(found)


# Things without a word


def test_a_thing_without_a_word_is_told_with_the_nearest_that_there_is() -> None:
    assert told(macaw=0.86) == (
        "out of scope: to the CNN this is macaw (a kind of parrot, p .86); the captioner has no word for it, the "
        "nearest is “bird” (249 of 36,052 training captions)"
    )
    assert told(hot_dog=0.999).endswith("hot dog (p > .99); the captioner has no word for it")


def test_likelihoods_of_one_kind_add_up_and_the_narrowest_kind_is_told() -> None:
    assert told(tabby=0.4, tiger_cat=0.3) == (
        "out of scope: to the CNN this is domestic cat (a kind of cat, p .70); “cat” stands in 144 of 36,052 training "
        "captions only, and not in this one"
    )
    assert told(tabby=0.6, tiger_cat=0.3).startswith(
        "out of scope: to the CNN this is tabby (a kind of domestic cat, p .60)"
    )
    assert told(tabby=0.4, macaw=0.4) == ""  # no kind has both


@pytest.mark.parametrize(
    ("why", "options"),
    [
        ("its kind is known by a word", {"pug": 0.9}),
        ("its pictures are known", {"sea": 0.9}),
        ("it is not sure", {"macaw": 0.59}),
        ("the caption says its kind", {"macaw": 0.9, "said": "two birds on a tree"}),
        ("the caption says it", {"macaw": 0.9, "said": "a Macaw."}),
        ("a kind of several classes is said", {"tabby": 0.4, "tiger_cat": 0.4, "said": "a cat on a mat"}),
        ("the word is frequent", {"tabby": 0.9, "counts": {"cat": 300}}),
    ],
)
def test_nothing_is_told_where(why: str, options: dict[str, Any]) -> None:
    assert told(**options) == ""


def test_what_captions_and_pictures_hardly_had_is_told() -> None:
    assert told(tabby=0.9, counts={"cat": 299})
    assert told(sea=0.9, met=replace(MET, classes=(0, 3, 2, 40, 9, 0, 9)))
    few = {"parrot": 4, "bird": 20}
    assert told(macaw=0.9, counts=few, said="a bird on a tree")  # it had a better word
    assert not told(macaw=0.9, counts=few, said="a parrot on a tree")
    assert not told(sea=0.9, met=replace(MET, classes=(0, 3, 2, 40, 9, 0, 10)))


def test_plurals_are_words_of_a_kind() -> None:
    assert {"puppies", "women", "buses"} <= {*forms("puppy"), *forms("woman"), *forms("bus")}
    assert "parrots" in imagenet().words(imagenet().wider[imagenet().classes[88]][0])


# The table of classes


def test_every_class_of_imagenet_has_its_name_and_kinds() -> None:
    kinds = imagenet()
    assert len(kinds.classes) == 1000 == len(set(kinds.classes))
    names = {kinds.names[kind][0]: [kinds.names[one][0] for one in kinds.chain(kind)] for kind in kinds.classes}
    assert names["macaw"][:3] == ["macaw", "parrot", "bird"]
    assert "dog" in names["pug"]
    assert "animal" not in names["macaw"]  # too general to say what a thing is
    assert kinds.names[kinds.classes[934]][0] == "hotdog"


@pytest.mark.skipif(not tool.WORDNET.is_dir(), reason="WordNet is not here: apt-get install wordnet-base")
def test_the_table_is_what_its_tool_makes_of_wordnet() -> None:
    from torchvision.models import ResNet50_Weights

    wordnet = tool.nouns(tool.WORDNET)
    made = tool.table(tool.synsets(ResNet50_Weights.DEFAULT.meta["categories"], wordnet.senses), wordnet)
    assert made == json.loads(tool.OUT.read_text(encoding="utf-8"))


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is not here")
def test_classes_are_called_as_others_call_them() -> None:
    lines = (REAL / "mobilenet_v2" / "labels.txt").read_text(encoding="utf-8").splitlines()[1:]
    first = [line.partition(",")[0].lower() for line in lines]
    assert [imagenet().names[kind][0].lower() for kind in imagenet().classes] == first


# What a captioner was trained on


def test_classes_of_training_photographs_are_counted_and_kept(tmp_path: Path) -> None:
    last = np.zeros((130, 1000, 1, 1), np.float16)
    last[:70, 3], last[70:130, 5], last[120:, 7] = 9, 9, 8.5  # the last ten show two things
    maps = Maps.of_arrays([str(n) for n in range(130)], last, last)
    found = scope.met(lambda one: one.mean((2, 3)), maps, [str(n) for n in range(129)], 645)
    assert (found.captions, found.photographs) == (645, 129)
    assert {n: count for n, count in enumerate(found.classes) if count} == {3: 70, 5: 59, 7: 9}
    scope.save(tmp_path, found)
    assert scope.read(tmp_path) == found


def test_a_broken_record_is_refused_by_name(tmp_path: Path) -> None:
    assert scope.read(tmp_path) is None
    for text_, wanted in (
        ("{", "not readable"),
        ('{"captions": 1e999}', "not readable"),
        ('{"captions": 1}', "not readable"),
        ("[]", "not readable"),
    ):
        (tmp_path / "scope.json").write_text(text_)
        with pytest.raises(ModelError, match=rf"scope\.json: {wanted}.*train again or delete it"):
            scope.read(tmp_path)
    scope.save(tmp_path, TrainedOn(1, 1, (0,)))
    with pytest.raises(ModelError, match=r"scope\.json: 1 classes, ImageNet has 1000"):
        scope.read(tmp_path)


# On the way from the CNN to the explanation


class Knowing(nn.Module):
    """A CNN that knows more than A: ``last`` holds each picture's mean; counts how often it was run."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.runs = TinyCnn(), 0

    def with_maps(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.runs += len(images)
        return self.inner(images), {"last": images.mean(1, keepdim=True)}

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.with_maps(images)[0]
        return made


def knowing(**options: Any) -> Any:
    """A captioner whose CNN is `Knowing`."""
    plain = captioner("attention", **options)
    task = captioner("attention", tells=lambda features, one, said: (f"{TOLD} of {features.maps['last'].mean():.3f}",))
    task.cnn = Knowing().eval()
    task.cnn.inner = plain.cnn
    return task


def test_other_maps_come_along_in_the_same_run_each_with_its_picture() -> None:
    task, plain = knowing(), captioner("attention")
    inputs = torch.stack([task.prepare(picture(seed)) for seed in (0, 1, 2)])
    first = task.features(inputs)
    before = task.cnn.runs
    found = task.features(inputs)
    assert task.cnn.runs == before + 3
    for one in (first, found):
        assert one.layer == "cnn"
        torch.testing.assert_close(one.maps["last"], inputs.mean(1, keepdim=True))
        torch.testing.assert_close(one.A, plain.features(inputs).A)


class Untraced(nn.Module):
    """A tiny CNN whose layers nobody can follow: where its cells lie is found by other pictures."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = torch.fft.ifft2(torch.fft.fft2(self.inner(images))).real
        return made


def test_other_maps_are_those_of_the_pictures_where_more_of_them_were_shown() -> None:
    task = knowing()
    task.cnn.inner = Untraced(task.cnn.inner).eval()
    inputs = torch.stack([task.prepare(picture(seed)) for seed in (0, 1, 2)])
    found = task.features(inputs)
    assert task.cnn.runs > 3
    torch.testing.assert_close(found.maps["last"], inputs.mean(1, keepdim=True))


def test_an_explanation_tells_of_its_own_picture() -> None:
    task = knowing()
    alone = [vlx.explain(task, picture(seed)).scope for seed in (0, 1)]
    assert alone[0] != alone[1]
    assert [why.scope for why in vlx.explain_many(task, [picture(0), picture(1)])] == alone
    assert all(told_.startswith(TOLD) for (told_,) in alone)
    assert powers_of(task).scoped
    assert vlx.explain(captioner("attention"), picture(0)).scope == ()


def test_the_photo_cnn_gives_the_map_that_tells_its_classes() -> None:
    torch.manual_seed(0)
    cnn = PhotoCnn(8).eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        A, maps = cnn.with_maps(images)
        torch.testing.assert_close(A, cnn(images))
        torch.testing.assert_close(cnn.backbone.classified(maps["last"]), cnn.backbone(images))


@pytest.mark.parametrize("ending", ["json", "h5"])
def test_what_was_told_is_kept(ending: str, tmp_path: Path) -> None:
    why = replace(caption_explanation(), scope=(TOLD,))
    assert Explanation.load(why.save(tmp_path / f"why.{ending}")).scope == (TOLD,)


def test_files_of_before_hold_nothing_of_it(tmp_path: Path) -> None:
    path = caption_explanation().save(tmp_path / "why.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["scope"], record["digest"]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert Explanation.load(path).scope == ()


def test_it_stands_under_the_caption_everywhere(tmp_path: Path) -> None:
    why = replace(caption_explanation(), scope=(f"{TOLD} <b>",))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(text.table(why))
    lines = console.export_text().splitlines()
    assert lines[0].startswith("it says: ")
    assert lines[1].strip() == "Out of scope: to the CNN this is a macaw <b>."
    page = why.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert page.index('class="scope">Out of scope: to the CNN this is a macaw &lt;b&gt;.') < page.index("</header>")
    markdown = why.save(tmp_path / "why.md").read_text(encoding="utf-8").splitlines()
    assert markdown[2] == "> **Out of scope: to the CNN this is a macaw &lt;b\\>.**"
    assert "Out of scope: to the CNN" in figure.draw(why).get_suptitle()
    assert 'class="scope"' not in caption_explanation()._repr_html_().replace("&quot;", '"').replace("&#34;", '"')


# Drawn pictures and others


def compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize("size", [96, 128, 300])
def test_drawn_scenes_are_known_at_every_size_and_compressed(size: int) -> None:
    drawn = [scenes.draw(10_050_000 + seed, size).image for seed in range(12)]
    assert all(likeness(image).drawn for image in drawn)
    assert all(likeness(compressed(image, 90)).drawn for image in drawn)
    assert all(likeness(image.resize((size, size * 2 // 3))).drawn for image in drawn)


def test_other_pictures_are_not_taken_for_drawn_scenes() -> None:
    scene = scenes.draw(10_050_001, 192).image
    pixels = np.asarray(scene)
    others = {
        "upside down": pixels[::-1],
        "negative": 255 - pixels,
        "channels exchanged": pixels[..., ::-1],
        "shuffled": np.random.default_rng(0).permutation(pixels.reshape(-1, 3)).reshape(pixels.shape),
        "one colour": np.full_like(pixels, 200),
        "black": np.zeros_like(pixels),
        "noise": np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8),
        "sky alone": pixels[:40],
        "in stripes of light": (pixels * np.where(np.arange(192) // 4 % 2, 0.86, 1.0)[None, :, None]).astype(np.uint8),
    }
    assert {name for name, one in others.items() if likeness(Image.fromarray(one.copy())).drawn} == set()
    assert not any(likeness(light_ground.draw(seed).image).drawn for seed in range(20))


def test_a_picture_without_colour_is_no_drawn_scene() -> None:
    for seed in range(10_050_000, 10_050_012):
        grey = scenes.draw(seed, 128).image.convert("L")
        assert likeness(grey).drawn is False
        assert likeness(compressed(grey, 60)).drawn is False
    assert likeness(Image.new("RGB", (64, 64), "white")).drawn is False


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is not here")
def test_photographs_are_not_taken_for_drawn_scenes() -> None:
    found = [likeness(Image.open(path)).drawn for path in sorted((REAL / "photos").rglob("*.jpg"))]
    assert len(found) > 70
    assert not any(found)
    assert found.count(False) > 0.9 * len(found)


@pytest.mark.parametrize("name", ["scenes/captioner", "scenes/vqa"])
def test_models_of_drawn_scenes_tell_of_pictures_that_are_none(name: str) -> None:
    task = vlx.load(name)
    asked: dict[str, Any] = {"question": "what color is the car?"} if name == "scenes/vqa" else {}
    why = vlx.explain(task, scenes.draw(10_000_001).image, seen=False, check=False, **asked)
    assert why.scope == ()
    assert not any("drawn" in note for note in why.notes)
    why = vlx.explain(task, picture(0, 200, 160), seen=False, check=False, **asked)
    assert len(why.scope) == 1
    assert "no picture of the drawn world" in why.scope[0]


def test_what_may_be_drawn_is_not_told_to_be_none() -> None:
    open_ = next(one.image for one in map(light_ground.draw, range(20)) if likeness(one.image).drawn is None)
    assert vlx.explain(vlx.load("scenes/captioner"), open_, seen=False, check=False).scope == ()


def test_a_captioner_of_photographs_tells_that_a_picture_is_drawn_and_nothing_of_its_classes(tmp_path: Path) -> None:
    features: Any = type("Seen", (), {"maps": {"last": torch.zeros(1, 7, 1, 1)}})()
    sure = torch.tensor([[9.0, 0, 0, 0, 0, 0, 0]])
    tells = Scope(lambda last: sure, COUNTS, MET, SMALL)
    (drawn,) = tells(features, scenes.draw(10_000_001).image, "a man")
    assert "a picture of the drawn world" in drawn
    (macaw,) = tells(features, picture(0, 200, 160), "a man")
    assert "macaw" in macaw
    alone = scope.of(tmp_path, COUNTS, unused)  # a bundle without a record
    assert alone(features, scenes.draw(10_000_001).image, "a man") == (drawn,)
    assert alone(features, picture(0, 200, 160), "a man") == ()


# Words from language


def test_words_that_the_picture_does_not_carry_are_marked_in_the_text(tmp_path: Path) -> None:
    why = caption_explanation(labels=("a", "red", "house", "in", "snow"))  # seen 2.5, .01, −.3, 1, .2
    marked = "a red° house° in snow°"
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(text.table(why))
    shown = console.export_text()
    assert shown.splitlines()[0] == f"it says: {marked}"
    assert "\n° language’s: the picture hardly carries this word (seen below .3 nats)" in shown
    assert [line.split()[0] for line in shown.splitlines()[2:7]] == marked.split()
    markdown = why.save(tmp_path / "why.md").read_text(encoding="utf-8")
    assert markdown.startswith(f"# {marked}\n")
    assert "° language’s" in markdown
    page = why.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert page.count('<span class="ring" aria-hidden="true">°</span>') == 3
    assert page.count(", owed to language") >= 3
    drawn = figure.draw(why)
    assert drawn.get_suptitle().startswith(marked)
    assert [axis.get_title().split("\n")[0] for axis in drawn.axes[1:6]] == marked.split()


def test_nothing_is_marked_that_was_not_asked_or_is_no_word_of_a_caption(tmp_path: Path) -> None:
    plain = caption_explanation(labels=("a", "red", "house", "in", "snow"))
    unasked = replace(plain, words=tuple(replace(word, seen=None, seen_by={}, looked=None) for word in plain))
    for why in (unasked, answer_explanation()):
        assert "°" not in why.save(tmp_path / "why.md").read_text(encoding="utf-8")
        assert '<span class="ring"' not in why.save(tmp_path / "why.html").read_text(encoding="utf-8")


def test_a_text_of_pieces_is_left_as_it_is(tmp_path: Path) -> None:
    labels = ("r", "e", "d", "a", "b")
    why = replace(caption_explanation(labels=labels), text="redab")
    markdown = why.save(tmp_path / "why.md").read_text(encoding="utf-8")
    assert markdown.startswith("# redab\n")
    assert "| e° |" in markdown


def test_a_word_that_stands_inside_another_is_marked_in_its_own_place() -> None:
    from vlx.report import wording

    why = caption_explanation(labels=("cat", "at", "a", "at", "tat"))
    assert wording.marked(why) == "cat at° a° at tat°"
