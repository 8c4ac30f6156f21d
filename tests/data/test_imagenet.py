"""ImageNet in its usual layouts: classes with their boxes, and what cannot be used is counted or named."""

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import sets
from vlx.cli import main
from vlx.data import ImagenetData, open_data
from vlx.data.annotations import EMPTY, OUTSIDE, SWAPPED, LeftOut, box_of, parsed
from vlx.data.coco import MISSING
from vlx.data.imagenet import UNBOXED, UNTOLD
from vlx.errors import ImageError, InputError

BIRDS, MACHINES = "crane (n02012849)", "crane (n03126707)"
LAYOUTS = [
    ("ILSVRC/Annotations/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val"),
    ("Annotations/CLS-LOC/val", "Data/CLS-LOC/val"),
    ("Annotations", "Data"),
    ("Annotations/val", "Data/val"),
    ("Annotation/{}", "val/{}"),
    ("Annotations", "val/{}"),
    ("ILSVRC2012_bbox_val_v3/val", "ILSVRC2012_img_val"),
    ("bbox", "images"),
    ("val", "val"),
    ("", ""),
]


def opened(root: Path) -> Any:
    return open_data(f"imagenet:{root}")


def asked(data: Any) -> list[tuple[Any, ...]]:
    return [
        (ask.label, ask.group, ask.synset, ask.truth.boxes)
        for example in map(data.__getitem__, range(len(data)))
        for ask in example.asks
    ]


@pytest.mark.parametrize(("boxes", "pictures"), LAYOUTS)
def test_classes_with_their_boxes_in_each_layout(tmp_path: Path, boxes: str, pictures: str) -> None:
    data = opened(sets.imagenet(tmp_path, boxes, pictures))
    assert isinstance(data, ImagenetData)
    assert asked(data) == [
        ("tench, Tinca tinca", "tench", sets.TENCH, ((8, 4, 32, 32),)),
        ("crane", BIRDS, sets.CRANE, ((0, 0, 16, 16), (32, 16, 32, 32))),
        ("crane", MACHINES, sets.MACHINE, ((1, 2, 62, 45),)),
    ]
    assert [data[n].key for n in range(3)] == [f"{sets.VALIDATED.format(n)}.JPEG" for n in (1, 2, 3)]
    assert (data[0].image.size, data.left_out, len(data)) == (sets.SIZE, {}, 3)
    assert [ask.mask for ask in data[1].asks] == [None]
    assert [concept.name for concept in data[1].regions] == [BIRDS]


def test_without_a_list_of_names_classes_go_by_their_ids(tmp_path: Path) -> None:
    (sets.imagenet(tmp_path) / "LOC_synset_mapping.txt").unlink()
    assert next(row[:3] for row in asked(opened(tmp_path))) == (sets.TENCH,) * 3


def test_a_solution_file_tells_boxes_of_pictures_without_xml(tmp_path: Path) -> None:
    for path in sorted((sets.imagenet(tmp_path) / "ILSVRC/Annotations/CLS-LOC/val").iterdir())[1:]:
        path.unlink()
    first, second, third = (sets.VALIDATED.format(n) for n in (1, 2, 3))
    (tmp_path / "LOC_val_solution.csv").write_text(
        f"ImageId,PredictionString\n{second},{sets.CRANE} 0 0 16 16 {sets.CRANE} 32 16 64 48 \n"
        f"{first},{sets.CRANE} 1 1 2 2\n{third},{sets.MACHINE} 1 2 63 47\n"
    )
    data = opened(tmp_path)
    assert [row[3] for row in asked(data)] == [((8, 4, 32, 32),), ((0, 0, 16, 16), (32, 16, 32, 32)), ((1, 2, 62, 45),)]
    assert data.left_out == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ImageId,PredictionString\na,n01440764 1 2 3\n", r"row of a has '1 2 3' for a box; give a class and four"),
        ("ImageId,PredictionString\na,n01440764 1 2 3 x\n", r"row of a has '1 2 3 x' for a box"),
        ("ImageId,PredictionString\na,n01440764 1 2 3 4\na,n01440764 1 2 3 4\n", r"row of a stands there twice"),
        ("ImageId,Prediction\na,b\n", r"no column PredictionString"),
    ],
)
def test_a_broken_solution_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (sets.imagenet(tmp_path) / "LOC_val_solution.csv").write_text(text)
    with pytest.raises(InputError, match=rf"LOC_val_solution.csv.*{message}"):
        opened(tmp_path)


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path) -> None:
    boxes = sets.imagenet(tmp_path) / "ILSVRC/Annotations/CLS-LOC/val"
    pictures = tmp_path / "ILSVRC/Data/CLS-LOC/val"
    sets.xml(boxes / "gone.xml", [(sets.TENCH, 1, 1, 9, 9)])
    for stem in ("empty", "swapped", "outside", "bare", "partly"):
        sets.picture(pictures / f"{stem}.JPEG")
    sets.xml(boxes / "empty.xml", [(sets.TENCH, 5, 1, 5, 9)])
    sets.xml(boxes / "swapped.xml", [(sets.TENCH, 9, 1, 5, 9)])
    sets.xml(boxes / "outside.xml", [(sets.TENCH, 64, 1, 80, 9)])
    sets.xml(boxes / "partly.xml", [(sets.TENCH, 9, 9, 5, 1), (sets.TENCH, -4, 1, 70.5, 9)])
    data = opened(tmp_path)
    assert data.left_out == {
        EMPTY: ("empty.JPEG",),
        SWAPPED: ("partly.JPEG", "swapped.JPEG"),
        OUTSIDE: ("outside.JPEG",),
        MISSING: ("gone",),
        UNTOLD: ("bare.JPEG",),
        UNBOXED: ("empty.JPEG", "outside.JPEG", "swapped.JPEG"),
    }
    partly = next(data[n] for n in range(len(data)) if data[n].key == "partly.JPEG")
    assert [ask.truth.boxes for ask in partly.asks] == [((0, 1, 64, 8),)]


def test_a_picture_without_boxes_has_the_class_of_its_folder(tmp_path: Path) -> None:
    sets.imagenet(tmp_path, "Annotations", "val/{}")
    next((tmp_path / "Annotations").iterdir()).with_name(f"{sets.VALIDATED.format(1)}.xml").unlink()
    (ask,) = opened(tmp_path)[0].asks
    assert (ask.label, ask.synset, ask.truth) == ("tench, Tinca tinca", sets.TENCH, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", r"is not whole XML"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><annotation/>", r"it has a DOCTYPE, 'x'"),
        ("<html/>", r"its root is <html>; PASCAL VOC's is <annotation>"),
        ("<annotation><object/></annotation>", r"object 1 has no <name>"),
        ("<annotation><object><name>n01440764</name></object></annotation>", r"object 1 \(n01440764\) has no <bndbox>"),
        (
            "<annotation><object><name>dog</name><bndbox><xmin>1</xmin></bndbox></object></annotation>",
            r"object 1 \(dog\): <ymin> is None; give a number",
        ),
        (
            "<annotation><object><name>dog</name><bndbox><xmin>nan</xmin></bndbox></object></annotation>",
            r"object 1 \(dog\): <xmin> is 'nan'; give a number",
        ),
        ("<annotation><size><width>x</width><height>2</height></size></annotation>", r"<width> of its size is 'x'"),
        ("<annotation><size><width>-1</width><height>2</height></size></annotation>", r"a size of -1×2; give whole"),
        ("<annotation>" + "<a>" * 1000, r"elements in elements more than 32 deep"),
        ("<annotation>\xe9</annotation>", r"is not whole XML"),
    ],
)
def test_a_broken_annotation_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = sets.imagenet(tmp_path) / "ILSVRC/Annotations/CLS-LOC/val" / f"{sets.VALIDATED.format(2)}.xml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=rf"00000002.xml.*{message}"):
        opened(tmp_path)


def test_entities_do_not_grow() -> None:
    entities = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise("abcdefghij"))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">{entities}]><annotation>&j;</annotation>'
    started = time.process_time()
    for data in (bomb.encode(), bomb.encode("utf-16")):
        with pytest.raises(InputError, match=r"it has a DOCTYPE"):
            parsed(data, "a.xml")
    assert time.process_time() - started < 2


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    sets.imagenet(tmp_path)
    sets.picture(tmp_path / "ILSVRC/Data/CLS-LOC/val" / f"{sets.VALIDATED.format(1)}.png")
    with pytest.raises(InputError, match=r"00000001.JPEG and .*00000001.png: two files of one name"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n01440764\n", r"line 1 is 'n01440764'; give n01440764 tench, Tinca tinca"),
        (f"{sets.SYNSETS}n01440764 trout\n", r"line 4 names n01440764 anew"),
        ("n01440764 tench\n", r"lacks 2 classes that the annotations name, as n02012849"),
    ],
)
def test_a_broken_list_of_names_is_named(tmp_path: Path, text: str, message: str) -> None:
    (sets.imagenet(tmp_path) / "LOC_synset_mapping.txt").write_text(text)
    with pytest.raises(InputError, match=rf"LOC_synset_mapping.txt:? {message}"):
        opened(tmp_path)


def test_folders_that_hold_nothing_of_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder; write imagenet:DIR"):
        opened(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"none of 0 pictures has one of 0 annotations"):
        opened(tmp_path)


def test_a_picture_of_another_size_than_its_record_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = sets.imagenet(tmp_path) / "ILSVRC/Data/CLS-LOC/val" / f"{sets.VALIDATED.format(1)}.JPEG"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", sets.SIZE).save(path, exif=turned)
    with pytest.raises(ImageError, match=r"is 48×64, its record says 64×48: boxes and masks cannot be laid on it"):
        _ = opened(tmp_path)[0].image


def test_a_digest_tells_other_boxes_names_and_pictures(tmp_path: Path) -> None:
    before = opened(sets.imagenet(tmp_path)).digest()
    assert opened(tmp_path).digest() == before
    path = tmp_path / "ILSVRC/Annotations/CLS-LOC/val" / f"{sets.VALIDATED.format(1)}.xml"
    text = path.read_text()
    path.write_text(text.replace("<xmin>8<", "<xmin>7<"))
    moved = opened(tmp_path).digest()
    path.write_text(text)
    (tmp_path / "LOC_synset_mapping.txt").write_text(sets.SYNSETS.replace("tench, ", "trout, "))
    renamed = opened(tmp_path).digest()
    assert len({before, moved, renamed}) == 3


@settings(max_examples=200, deadline=None)
@given(st.tuples(*[st.integers(-9, 80)] * 4), st.sampled_from([None, (48, 64), (1, 1)]))
def test_a_box_is_the_pixels_that_its_sides_hold(
    sides: tuple[int, int, int, int], size: tuple[int, int] | None
) -> None:
    left, top, right, bottom = sides
    height, width = size or (1000, 1000)
    cells = {(x, y) for x in range(max(left, 0), right) for y in range(max(top, 0), bottom) if x < width and y < height}
    left_out = LeftOut()
    box = box_of(sides, size, left_out, "a")
    if box is None:
        assert not cells
        (why,) = left_out.told
        swapped, empty = right < left or bottom < top, right == left or bottom == top
        assert why == (SWAPPED if swapped else EMPTY if empty else OUTSIDE)
    else:
        x, y, w, h = map(int, box)
        assert cells == {(a, b) for a in range(x, x + w) for b in range(y, y + h)}
        assert not left_out.told


def test_five_thousand_records_are_read_without_their_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5000):
        sets.xml(tmp_path / "Annotations" / f"{n}.xml", [(sets.TENCH, 1, 2, 30, 40)])
    (tmp_path / "Data").mkdir()
    for n in range(5000):
        (tmp_path / "Data" / f"{n}.JPEG").touch()
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("a picture was opened"))
    started = time.process_time()
    data = opened(tmp_path)
    assert len([ask for n in range(len(data)) for ask in data[n].asks]) == 5000
    assert time.process_time() - started < 5


def test_its_pictures_are_explained_as_a_folder_is(tmp_path: Path) -> None:
    sets.imagenet(tmp_path)
    done = CliRunner().invoke(
        main, ["caption", f"imagenet:{tmp_path}", "--model", "scenes/captioner", "-o", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()) == 4
