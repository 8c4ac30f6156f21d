"""Published sets with a damaged file work or are refused by name: nothing else is raised, whatever stands in them."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import sets
from vlx.data import open_data
from vlx.errors import LONGEST, InputError

ROUNDS = 40
WORDS = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"<",
    b"</annotation>",
    b"&a;",
    b"{",
    b"]",
    b'"',
    b",",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
]
WORDS += [b"true", b"9" * 40, b"[[[[", b"\\ud800", "é".encode(), b"<!DOCTYPE a>", b"999999999", b"0.5", b":", b"\n"]


def regions(root: Path) -> str:
    return sets.regions(root)


def vqa(root: Path) -> str:
    return f"{sets.vqa(root)},hat={root / 'hat'}"


def imagenet(root: Path) -> str:
    sets.imagenet(root)
    solved = f"ImageId,PredictionString\n{sets.VALIDATED.format(1)},{sets.TENCH} 1 2 3 4\n"
    (root / "LOC_val_solution.csv").write_text(solved)
    return f"imagenet:{root}"


def voc(root: Path) -> str:
    return f"voc:{sets.voc(root)}:2007:val"


FILES: list[tuple[Callable[[Path], str], str]] = [
    (imagenet, "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"),
    (imagenet, "LOC_synset_mapping.txt"),
    (imagenet, "LOC_val_solution.csv"),
    (voc, "VOCdevkit/VOC2007/Annotations/000001.xml"),
    (voc, "VOCdevkit/VOC2007/ImageSets/Main/val.txt"),
    (voc, "VOCdevkit/VOC2007/SegmentationClass/000001.png"),
    (vqa, "questions.json"),
    (vqa, "annotations.json"),
    (vqa, "hat/42000_1.png"),
    (regions, "region_descriptions.json"),
    (regions, "image_data.json"),
]


def damaged(data: bytes, lot: random.Random) -> bytes:
    """A few bytes taken out, doubled, or replaced by what stands in such files, or the file cut."""
    for _ in range(lot.randint(1, 3)):
        first = lot.randrange(len(data) + 1)
        last = min(first + lot.choice([0, 1, 1, 4, 40]), len(data))
        put = lot.choice([lot.choice(WORDS), data[first:last] * 2, bytes([lot.randrange(256)])])
        data = data[:first] if lot.random() < 0.1 else data[:first] + put + data[last:]
    return data


@pytest.mark.parametrize(("make", "file"), FILES, ids=lambda one: one if isinstance(one, str) else one.__name__)
def test_a_damaged_file_works_or_is_refused(tmp_path: Path, make: Callable[[Path], str], file: str) -> None:
    name, path, refused = make(tmp_path), tmp_path / file, 0
    good = path.read_bytes()
    for seed in range(ROUNDS):
        path.write_bytes(damaged(good, random.Random(seed)))
        try:
            data = open_data(name)
            data.digest()
            for number in range(len(data)):
                example = data[number]
                for ask in (*example.asks, *example.absent):
                    _ = ask.truth and (ask.mask, ask.truth.human, ask.truth.boxes)
                _ = example.texts, len(example.regions)
        except InputError as error:
            refused += 1
            assert len(str(error)) <= LONGEST
    path.write_bytes(good)
    assert open_data(name)[0].asks
    assert refused or file.endswith(".txt"), "some damage shows"
