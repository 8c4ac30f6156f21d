"""Tiny data sets on disk in the layouts of ImageNet, PASCAL VOC, VQA with human maps, and Visual Genome."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlx.data.voc import CLASSES, VOID

SIZE = (64, 48)  # width, height
Things = Iterable[tuple[Any, ...]]  # name, xmin, ymin, xmax, ymax, and 1 where it is difficult
TENCH, CRANE, MACHINE = "n01440764", "n02012849", "n03126707"
SYNSETS = f"{TENCH} tench, Tinca tinca\n{CRANE} crane\n{MACHINE} crane\n"
VALIDATED = "ILSVRC2012_val_0000000{}"


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 90, 200)).save(path)
    return path


def xml(path: Path, things: Things, size: tuple[int, int] | None = SIZE) -> Path:
    """An annotation as VOC and ImageNet write it."""
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    objects = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>{hard[0] if hard else 0}</difficult><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom, *hard in things
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation><filename>{path.stem}</filename>{told}{objects}</annotation>", encoding="utf-8")
    return path


def imagenet(
    root: Path, boxes: str = "ILSVRC/Annotations/CLS-LOC/val", pictures: str = "ILSVRC/Data/CLS-LOC/val"
) -> Path:
    """Three pictures: a tench, two birds called crane, and a machine called so; ``{}`` in a place is the class."""
    told = [
        (TENCH, [(TENCH, 8, 4, 40, 36)]),
        (CRANE, [(CRANE, 0, 0, 16, 16), (CRANE, 32, 16, 64, 48)]),
        (MACHINE, [(MACHINE, 1, 2, 63, 47)]),
    ]
    for number, (name, things) in enumerate(told, 1):
        stem = VALIDATED.format(number)
        xml(root / boxes.format(name) / f"{stem}.xml", things)
        picture(root / pictures.format(name) / f"{stem}.JPEG")
    (root / "LOC_synset_mapping.txt").write_text(SYNSETS, encoding="utf-8")
    return root


def voc(root: Path, year: str = "2007") -> Path:
    """Three pictures in a kit; the first is segmented, with a dog, a difficult dog and a difficult cat."""
    kit = root / "VOCdevkit" / f"VOC{year}"
    xml(kit / "Annotations" / "000001.xml", [("dog", 9, 5, 40, 36), ("dog", 41, 5, 60, 20, 1), ("cat", 1, 1, 4, 4, 1)])
    xml(kit / "Annotations" / "000002.xml", [("person", 1, 1, 64, 48), ("dog", 1.5, 1, 10, 10)])
    xml(kit / "Annotations" / "000003.xml", [("sofa", 1, 1, 20, 20)])
    for number in (1, 2, 3):
        picture(kit / "JPEGImages" / f"00000{number}.jpg")
    classes, objects = np.zeros((2, 48, 64), np.uint8)
    classes[5:35, 9:39], objects[5:35, 9:39] = CLASSES.index("dog") + 1, 1
    classes[5:19, 41:59], objects[5:19, 41:59] = CLASSES.index("dog") + 1, 2
    classes[0:3, 0:3], objects[0:3, 0:3] = CLASSES.index("cat") + 1, 3
    classes[4, 8:40] = VOID
    for kind, values in (("Class", classes), ("Object", objects)):
        labels = Image.fromarray(values, "P")
        labels.putpalette([n * 7 % 256 for n in range(768)])
        (kit / f"Segmentation{kind}").mkdir()
        labels.save(kit / f"Segmentation{kind}" / "000001.png")
    for name, text in {
        "Main/val": "000001\n000002\n",
        "Main/train": "000003\n",
        "Main/dog_val": "000001  1\n000002  1\n000003 -1\n",
        "Segmentation/val": "000001\n",
    }.items():
        path = kit / "ImageSets" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


ASKED = [
    {"image_id": 42, "question": "What color is the star?", "question_id": 42000},
    {"image_id": 42, "question": "Is it night?", "question_id": 42001},
    {"image_id": 73, "question": "How many dogs?", "question_id": 73000},
]


def answered(asked: Mapping[str, Any], kind: str, answers: list[str]) -> dict[str, Any]:
    """An annotation of a question as VQA writes it; the first answer is the majority's."""
    people = [{"answer": one, "answer_confidence": "yes", "answer_id": n} for n, one in enumerate(answers, 1)]
    return {
        "question_type": "what",
        "multiple_choice_answer": answers[0],
        "answers": people,
        "image_id": asked["image_id"],
        "answer_type": kind,
        "question_id": asked["question_id"],
    }


ANSWERED = [
    answered(ASKED[0], "other", ["red"] * 7 + ["dark red"] * 3),
    answered(ASKED[1], "yes/no", ["yes"] * 10),
    answered(ASKED[2], "number", ["2"] * 10),
]


def vqa(
    root: Path,
    asked: Any = ASKED,
    told: Any = ANSWERED,
    name: str = "val2014/COCO_val2014_{:012d}.jpg",
    kind: str = "mscoco",
    subtype: str = "val2014",
) -> str:
    """Two pictures with three questions, and human maps of one of them; the name that opens them without the maps."""
    for number in (42, 73):
        picture(root / name.format(number))
    beside = {"info": {"year": 2017}, "data_type": kind, "data_subtype": subtype, "license": {"name": "CC"}}
    questions, annotations = root / "questions.json", root / "annotations.json"
    questions.write_text(json.dumps({"task_type": "Open-Ended", **beside, "questions": asked}), encoding="utf-8")
    annotations.write_text(json.dumps({**beside, "annotations": told}), encoding="utf-8")
    (root / "hat").mkdir(exist_ok=True)
    looked = np.zeros((2, 28, 56), np.uint8)
    looked[0, :14] = 255
    looked[1, :, :28] = 127
    for person, values in enumerate(looked, 1):
        Image.fromarray(values, "L").resize((56 * person, 28 * person), Image.Resampling.NEAREST).save(
            root / "hat" / f"42000_{person}.png"
        )
    return f"vqa2:{questions},{annotations},{root}"


def region(number: int, picture: int, phrase: str, x: float, y: float, width: float, height: float) -> dict[str, Any]:
    sides = {"x": x, "y": y, "width": width, "height": height}
    return {"region_id": number, "image_id": picture, "phrase": phrase, **sides}


DESCRIBED = [
    {
        "regions": [
            region(5, 2, "A red clock.", 8, 4, 16, 8),
            region(6, 2, "a red clock", 40, 4, 16, 8),
            region(7, 2, "café wall", -2, 10, 12, 100),
        ],
        "id": 2,
    },
    {"regions": [region(8, 1, "the sky", 0, 0, 64, 20)], "id": 1},
]


def regions(root: Path, described: Any = DESCRIBED, sized: bool = True) -> str:
    """Two pictures with phrases, in two folders; the name that opens them."""
    picture(root / "VG_100K" / "1.jpg")
    picture(root / "VG_100K_2" / "2.jpg")
    path = root / "region_descriptions.json"
    path.write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")
    if sized:
        sizes = [{"image_id": number, "width": SIZE[0], "height": SIZE[1]} for number in (1, 2)]
        (root / "image_data.json").write_text(json.dumps(sizes), encoding="utf-8")
    return f"regions:{path},{root}"
