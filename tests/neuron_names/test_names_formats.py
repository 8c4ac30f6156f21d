"""Tables of names on disk: the official ones by their published figures, ours whole or refused, others checked."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.tallies import dissected
from vlx import neuron_names
from vlx.errors import InputError, OutputError
from vlx.neuron_names import NeuronNames, formats, load, read
from vlx.neuron_names.table import Concept, UnitName

REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "netdissect"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the official tables are not there: {REAL}")

# name: units, detectors, distinct best names, distinct names by category (Network Dissection, figures and tables)
OFFICIAL = {
    "caffe_reference_imagenet": (256, 97, 50, (21, 8, 4, 1, 23, 4)),
    "caffe_reference_places205": (256, 107, 60, (36, 8, 12, 1, 20, 2)),
    "caffe_reference_places365": (256, 118, 72, (40, 9, 13, 2, 25, 2)),
    "ResNet-152-model_imagenet": (2048, 1325, 197, (75, 23, 89, 8, 45, 2)),
    "ResNet-152-model_places365": (2048, 1452, 278, (84, 26, 188, 5, 42, 2)),
}
UNIQUE = dict(zip(OFFICIAL, (61, 79, 91, 242, 347), strict=True))
CATEGORIES = ("object", "part", "scene", "material", "texture", "color")
LITE = ("color", "object", "part", "material", "scene", "texture")


def same(one: NeuronNames, other: NeuronNames) -> bool:
    return [one.candidates(unit) for unit in range(len(one))] == [other.candidates(unit) for unit in range(len(other))]


# Official tables


@real
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_tables_give_the_published_figures(name: str) -> None:
    names = read(REAL / f"{name}.csv")
    units, detectors, best, split = OFFICIAL[name]
    assert len(names) == units
    assert len(names.detectors()) == detectors
    assert names.unique_detectors(rule="best") == best
    assert {key: len(own) for key, own in names.unique_by_category().items()} == dict(
        zip(CATEGORIES, split, strict=True)
    )
    assert names.unique_detectors() == sum(split) == UNIQUE[name]
    assert names.about["denominator"] == names.denominator == "paper"
    assert names.about["source"] == f"{name}.csv, read as netdissect, told by its columns"


@real
def test_official_units_count_from_zero_inside() -> None:
    names = read(REAL / "ResNet-152-model_places365.csv")
    train = names[923]  # "924,object,train,0.2931889…" in the file
    assert (train.concept, train.category, train.unit) == ("train", "object", 923)
    assert train.iou == pytest.approx(0.29318890307977408)
    assert (train.truth, train.activation, train.intersection) == (1646804, 2843788, 1018097)
    scene = next(one for one in names.candidates(923) if one.category == "scene")
    assert scene.concept == "train station-outdoor"  # train_station-outdoor-s
    assert not any(one.concept == "" for unit in range(len(names)) for one in names.candidates(unit))


@real
@pytest.mark.parametrize("ending", [".h5", ".csv", ".json"])
def test_official_tables_come_back_equal(ending: str, tmp_path: Path) -> None:
    names = read(REAL / "caffe_reference_places365.csv")
    again = read(names.save(tmp_path / f"names{ending}"))
    assert same(again, names)
    assert again.unique_detectors() == 91


# NetDissect tables made by hand

Cells = dict[str, Any]


def nd_row(unit: int, best: str, groups: tuple[str, ...], **labels: tuple[str, int, int, int]) -> Cells:
    """One row; (label, truth, activation, intersect) of each category, an empty label where none is given."""
    row: Cells = {"unit": unit, "category": best}
    for group in groups:
        label, truth, activation, both = labels.get(group, ("", 50, 50, 10))
        iou = both / (truth + activation - both) if label else 0.0
        cells = (label, truth, float(activation), both, repr(iou))
        row |= {f"{group}-{name}": cell for name, cell in zip(formats.netdissect.GROUP, cells, strict=True)}
    row |= {"label": row.get(f"{best}-label", ""), "score": row.get(f"{best}-iou", 0)}
    return row


def nd_rows(groups: tuple[str, ...] = CATEGORIES, part: int = 60) -> list[Cells]:
    """Three units, best first as the tools write them; ``part`` is the parts' activation where the objects' is 100."""
    whole = nd_row(3, "object", groups, object=("train_car", 300, 100, 80), part=("wheel", 200, part, 30))
    color = nd_row(1, "color", groups, color=("red-c", 90, 80, 50), object=("red-c", 400, 100, 10))
    scene = nd_row(2, "scene", groups, scene=("bay_window-s", 90, 80, 30), part=("seat-s", 10, part, 2))
    return [whole, color, scene]


def put(path: Path, rows: list[Cells], columns: list[str] | None = None, bom: str = "") -> Path:
    columns = columns or ["unit", "category", "label", "score", *[name for name in rows[0] if "-" in name]]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(bom)
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def refused(path: Path, message: str, **options: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(path, **options)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("groups", [CATEGORIES, LITE, ("scene", "object", "color", "part")])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_categories_are_found_by_name(groups: tuple[str, ...], bom: str, tmp_path: Path) -> None:
    names = read(put(tmp_path / "tally.csv", nd_rows(groups), bom=bom))
    assert [(one.concept, one.category) for one in names] == [
        ("red", "color"),
        ("bay window", "scene"),
        ("train car", "object"),
    ]
    assert [(one.concept, one.category) for one in names.candidates(2)] == [("train car", "object"), ("wheel", "part")]
    assert names[2].iou == pytest.approx(80 / 320)
    assert names.about["format"] == ("netdissect-lite" if groups == LITE else "netdissect")
    assert names.about["unit_base"] == 1


def test_suffixes_go_with_their_category_only(tmp_path: Path) -> None:
    names = read(put(tmp_path / "tally.csv", nd_rows()))
    assert {one.concept for one in names.candidates(0)} == {"red", "red-c"}  # an object that is called red-c
    assert {one.concept for one in names.candidates(1)} == {"bay window", "seat-s"}


def test_labels_that_would_become_one_stay_apart(tmp_path: Path) -> None:
    rows = [
        nd_row(1, "object", CATEGORIES, object=("air_plane", 100, 100, 60)),
        nd_row(2, "object", CATEGORIES, object=("air plane", 100, 100, 60)),
        nd_row(3, "object", CATEGORIES, object=("traffic_light", 100, 100, 60)),
    ]
    names = read(put(tmp_path / "tally.csv", rows))
    assert [one.concept for one in names] == ["air_plane", "air plane", "traffic light"]
    assert names.unique_detectors() == 3


@pytest.mark.parametrize(("part", "rule"), [(60, "paper"), (42, "lite")])
def test_the_denominator_shows_in_the_parts(part: int, rule: str, tmp_path: Path) -> None:
    rows = [nd_row(n, "object", LITE, object=("car", 300, 100, 80), part=("wheel", 200, part, 30)) for n in (1, 2)]
    names = read(put(tmp_path / "tally.csv", rows))
    assert names.about["denominator"] == names.denominator == rule


def test_without_parts_and_materials_the_denominator_is_unknown(tmp_path: Path) -> None:
    rows = [nd_row(1, "object", ("object",), object=("car", 300, 100, 80))]
    assert read(put(tmp_path / "tally.csv", rows)).about["denominator"] == "unknown"


def test_an_empty_label_is_no_name(tmp_path: Path) -> None:
    rows = [*nd_rows(), nd_row(4, "texture", CATEGORIES)]
    rows[-1]["texture-iou"] = 0.9  # as in the tables of fc layers: the background, with counts that do not fit
    names = read(put(tmp_path / "tally.csv", rows))
    assert names.candidates(3) == ()
    assert names[3].concept == ""


def test_a_concept_that_the_mask_misses_is_no_name(tmp_path: Path) -> None:
    rows = [nd_row(1, "object", CATEGORIES, object=("car", 300, 100, 80), texture=("lined", 10, 10, 0))]
    assert [one.concept for one in read(put(tmp_path / "tally.csv", rows)).candidates(0)] == ["car"]


def top5(rows: list[Cells]) -> list[Cells]:
    for row in rows:
        for n in range(1, 6):
            row |= {f"top{n}-label": str({"name": row["label"], "category": {"x": 1}}), f"top{n}-category": "object"}
            row[f"top{n}-iou"] = 0.1
    return rows


def test_top_five_columns_are_no_categories(tmp_path: Path) -> None:
    names = read(put(tmp_path / "tally.csv", top5(nd_rows(LITE)), bom="\ufeff"))
    assert {one.category for unit in range(3) for one in names.candidates(unit)} <= set(LITE)
    assert same(names, read(put(tmp_path / "plain.csv", nd_rows(LITE))))


@pytest.mark.parametrize("written", ["__import__('os').getcwd()", "{", "[1]", "{'name'}", "(" * 5000, "9" * 20_000])
def test_top_five_literals_are_parsed_and_never_run(written: str, tmp_path: Path) -> None:
    rows = top5(nd_rows(LITE))
    rows[0]["top1-label"] = written
    refused(put(tmp_path / "tally.csv", rows), r"line 2: top1-label is .*, not a dict with a name")


def change(**cells: Any) -> Callable[[list[Cells]], None]:
    return lambda rows: rows[0].update(cells)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change(**{"part-iou": 0.5}), r"line 2: part-iou is 0\.5, but the counts give 0\.1304"),
        (change(**{"object-truth": 301}), r"line 2: object-iou is 0\.25, but the counts give 0\.249"),
        (change(**{"object-iou": "nan"}), r"object-iou is nan, not a finite number"),
        (change(**{"object-truth": "many"}), r"object-truth is 'many', not a number"),
        (change(**{"object-truth": "300.5"}), r"object-truth is 300\.5, not a whole number"),
        (change(**{"object-truth": -300}), r"object-truth is -300, not a whole number"),
        (change(**{"object-intersect": 101}), r"object-intersect 101 exceeds truth 300 or activation 100"),
        (change(category="part"), r"label is 'train_car', but part-label is 'wheel'; columns are mixed up"),
        (change(category="thing"), r"category 'thing' has no columns; there are: object, part"),
        (change(label="wheel"), r"label is 'wheel', but object-label is 'train_car'"),
        (change(score=0.9), r"score is 0\.9, but object-iou is 0\.25"),
        (
            change(category="part", label="wheel", score=repr(30 / 230)),
            r"'wheel' is not the best: object-iou of 'train",
        ),
        (change(**{"top1-label": "{'name': 'bus'}"}), r"label is 'train_car', but top1-label is 'bus'"),
        (change(unit=2), r"unit 2 stands there twice"),
        (change(unit=5), r"unit 3 is missing between 1 and 5; the file is cut off"),
        (change(unit=0), r"units start at 0, but netdissect counts from 1; give base=0"),
        (change(unit=-1), r"unit is -1, not a whole number"),
        (change(unit="first"), r"unit is 'first', not a number"),
        (lambda rows: rows.clear(), r"names no unit"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(
    spoil: Callable[[list[Cells]], None], message: str, tmp_path: Path
) -> None:
    rows = nd_rows()
    columns = [name for name in rows[0] if name != "top1-label"] + ["top1-label"]
    spoil(rows)
    refused(put(tmp_path / "tally.csv", rows, columns), message)


@pytest.mark.parametrize("column", ["label", "object-truth", "part-iou", "scene-label", "unit"])
def test_a_missing_column_is_named(column: str, tmp_path: Path) -> None:
    rows = nd_rows()
    columns = [name for name in rows[0] if name != column]
    refused(
        put(tmp_path / "tally.csv", rows, columns), rf"lacks the columns {column} of a NetDissect", format="netdissect"
    )


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "tally.csv", nd_rows())
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + lines[3][:40], encoding="utf-8")
    refused(path, "line 4 has .* cells under 34 columns; the file is cut off")
    path.write_text("".join([lines[0], *lines[2:]]), encoding="utf-8")  # unit 3 lost: nothing tells
    assert len(read(path)) == 2
    refused(path, "unit 2 is missing|names no unit|beyond", units=1)
    path.write_text("".join(lines[:2]), encoding="utf-8")
    refused(path, "unit 1 is missing between 1 and 3")
    path.write_text(text[:-20], encoding="utf-8")
    refused(path, "cells under|part-iou is")


def test_units_may_be_left_out_when_their_number_is_given(tmp_path: Path) -> None:
    path = put(tmp_path / "tally.csv", [nd_rows()[0]])
    names = read(path, units=4)
    assert [one.concept for one in names] == ["", "", "train car", ""]
    refused(path, "unit 3 is beyond the 2 units of the layer, counted from 1", units=2)
    refused(path, "more than a layer can have", units=10**12)


def test_a_table_counted_from_zero_is_read_when_told_so(tmp_path: Path) -> None:
    rows = nd_rows()
    for row in rows:
        row["unit"] -= 1
    path = put(tmp_path / "tally.csv", rows)
    refused(path, "units start at 0, but netdissect counts from 1; give base=0 if this file does not")
    assert same(read(path, base=0), read(put(tmp_path / "one.csv", nd_rows())))


# Other tools' tables


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


CLIP = 'layer,unit,description,similarity\nlayer4,0,"red, ripe",0.21\nlayer4,1,dog,-0.05\nfc,0,cat,0.3\n'
SMALL = {
    "clip-dissect": (CLIP, "similarity", ["red, ripe", "dog"], [0.21, -0.05]),
    "milan": (
        "layer,unit,description\nlayer4,0,Green objects\nlayer4,1,\nfc,0,x\n",
        "none",
        ["Green objects", ""],
        None,
    ),
    "invert": ("neuron,concept,concept_id,metric\n1,cat,2,0.9\n0,dog,1,0.8\n", "auc", ["dog", "cat"], [0.8, 0.9]),
    "linear-explanations": (
        "unit,description,sim correlation,sim ablation(norm)\n0,car,0.4,1\n1,sky,0.1,2\n",
        "correlation",
        ["car", "sky"],
        [0.4, 0.1],
    ),
    "describe-and-dissect": ("Neuron ID,Label 1,Label 2,Label 3\n0,a,b,c\n1,d,e,f\n", "none", ["a", "d"], None),
    "milannotations": (
        "layer,unit,summary\nlayer4,0,one\nlayer4,0,two\nlayer4,1,three\nfc,0,x\n",
        "none",
        ["one", "three"],
        None,
    ),
    "compexp": (
        "unit,category,label,score,length,category_noncomp,label_noncomp,score_noncomp\n"
        "1,(object OR (NOT scene)),(water OR (NOT blue-c)),0.3,2,object,water,0.2\n0,NONE,NONE,0.0,1,NONE,NONE,0.0\n",
        "iou",
        ["", "(water OR (NOT blue-c))"],
        None,
    ),
    "csv": ("Unit,Concept,IoU,note\n0,dog,0.2,x\n1,cat,0.1,y\n", "iou", ["dog", "cat"], [0.2, 0.1]),
}


@pytest.mark.parametrize("kind", SMALL)
def test_other_tables_are_told_by_their_columns(kind: str, tmp_path: Path) -> None:
    text, metric, concepts, scores = SMALL[kind]
    path = write(tmp_path / "names.csv", text)
    layer = "layer4" if text.startswith("layer") else None
    names = read(path, layer=layer)
    assert [one.concept for one in names] == concepts
    assert names.about["format"] == kind
    assert names.about["metric"] == metric
    assert names.about["source"] == f"names.csv, read as {kind}, told by its columns"
    assert names.about.get("layer") == layer
    if scores:
        assert [one.score for one in names] == scores
    if metric != "iou":
        assert all(np.isnan(one.iou) for one in names)
        assert not names.detectors()
    given = read(path, kind, layer=layer)
    assert same(given, names)
    assert given.about["source"] == f"names.csv, read as {kind}"


def test_details_of_other_tables(tmp_path: Path) -> None:
    compexp = read(write(tmp_path / "c.csv", SMALL["compexp"][0]))
    assert compexp[1].category == "object+scene"
    assert compexp.denominator == "all"
    assert compexp.unique_detectors() == 1
    people = read(write(tmp_path / "m.csv", SMALL["milannotations"][0]), layer="layer4")
    assert [(one.concept, one.category) for one in people.candidates(0)] == [
        ("one", "annotation 1"),
        ("two", "annotation 2"),
    ]
    described = read(write(tmp_path / "d.csv", SMALL["describe-and-dissect"][0]))
    assert [one.concept for one in described.candidates(1)] == ["d", "e", "f"]
    assert read(write(tmp_path / "p.csv", SMALL["csv"][0])).about["ignored"] == ["note"]


def test_a_layer_must_be_named_and_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "descriptions.csv", CLIP)
    refused(path, r"has 2 layers \(layer4, fc\); say which with layer=")
    refused(path, r"has no layer 'layer5'; there are: layer4", layer="layer5")
    assert len(read(path, layer="fc")) == 1


@pytest.mark.parametrize("kind", ["clip-dissect", "milan", "invert", "csv", "linear-explanations", "compexp"])
def test_a_table_counted_from_one_is_refused_where_zero_is_first(kind: str, tmp_path: Path) -> None:
    text = SMALL[kind][0]
    lines = [line for line in text.splitlines() if not line.startswith("fc")]
    layered = text.startswith("layer")
    moved = [lines[0]]
    for line in lines[1:]:
        cells = line.split(",")
        cells[int(layered)] = str(int(cells[int(layered)]) + 1)
        moved.append(",".join(cells))
    path = write(tmp_path / "names.csv", "\n".join(moved) + "\n")
    refused(path, rf"units run from 1 to 2, but {kind} counts from 0; give base=1")
    whole = read(write(tmp_path / "zero.csv", "\n".join(lines) + "\n"))
    assert same(read(path, base=1), whole)
    refused(path, "unit 0 is missing between 0 and 2", base=0)
    assert len(read(path, base=0, units=3)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\n1,2\n",
            r"has columns of no known format \(a, b\); give format=, one of netdissect, netdissect-lite, comp",
        ),
        ("", "names.csv is empty"),
        ("unit,concept,neuron,concept_id,metric\n", r"fits invert and csv; give format="),
        ("unit,concept,concept\n0,a,b\n", "has columns twice: concept"),
        ("unit,concept,Concept\n0,a,b\n", "differ only in capitals"),
        ("unit,concept\n0,dog\n0,cat\n", "line 3: unit 0 stands there twice"),
        ("unit,concept\n0,\n0,\n", "unit 0 stands there twice"),
        ("unit,concept\n0,dog,object\n", "line 2 has 3 cells under 2 columns"),
        ('unit,concept\n0,"dog\n', "not CSV"),
        ("unit,concept,iou\n0,dog,1.5\n", r"iou is 1\.5, not from 0 to 1"),
        ("unit,concept,iou\n0,dog,inf\n", "iou is inf, not a finite number"),
        ("unit,concept,wins\n0,dog,2.5\n", r"wins is 2\.5, not a whole number"),
        ("unit,concept\n0,dog\n2,cat\n", "unit 1 is missing between 0 and 2"),
        ("unit,concept\n99999999999999999999,dog\n", "not a whole number"),
        ("layer,unit,description,similarity\nfc,0,x,nan\n", "similarity is nan"),
        ("neuron,concept,concept_id,metric\n0,x,1,\n", "metric is '', not a number"),
    ],
)
def test_broken_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "names.csv", text), message)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_bytes("unit,concept\n0,é\n".encode("latin-1"))
    refused(path, "is not text in UTF-8")
    refused(tmp_path / "none.csv", "no such file")
    refused(tmp_path, "a folder, not a file")


def test_an_unknown_format_is_refused_with_close_matches(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format='netdisect'; known are: netdissect"):
        read(tmp_path / "x.csv", "netdisect")
    path = write(tmp_path / "names.csv", "unit,concept\n0,dog\n")
    refused(
        path,
        "lacks the columns layer, description, similarity of clip-dissect; it has unit, concept",
        format="clip-dissect",
    )
    refused(write(tmp_path / "names.json", "[]"), "is JSON, and milan is CSV", format="milan")


# JSON of other tools

REPORT: dict[str, Any] = {
    "header": {"name": "vgg16", "image": "x.png"},
    "units": [
        {"image": "0.png", "unit": 0, "iou": 0.2, "label": "sky", "cat": "object"},
        {"image": "1.png", "unit": 1, "iou": "NaN", "label": "tree", "cat": "object"},
    ],
}
QUICK: dict[str, Any] = {
    "netname": "alexnet",
    "meta": {},
    "quantile_threshold": 0.01,
    "iou_threshold": [0.04],
    "layers": [
        {
            "layer": "conv5",
            "units": [
                {"unit": 0, "interp": True, "level": 2.5, "iou": 0.25, "lc": 30, "cc": 20, "ic": 10, "label": "sky"}
                | {"labelnum": 3, "cat": "object"},
                {"unit": 1, "interp": False, "level": 1.5, "iou": 0.0, "lc": 30, "cc": 0, "ic": 0, "label": "car"}
                | {"labelnum": 4, "cat": "object"},
            ],
        },
        {"layer": "conv4", "units": [{"unit": 0, "iou": 0.1, "iou_label": "dog", "iou_cat": "object"}]},
    ],
}


def test_the_report_of_dissect(tmp_path: Path) -> None:
    names = read(write(tmp_path / "report.json", json.dumps(REPORT)))
    assert [(one.concept, one.category) for one in names] == [("sky", "object"), ("", "")]
    assert names.about["format"] == "dissect"
    assert names.denominator == "all"


def test_the_json_of_quick_netdissect(tmp_path: Path) -> None:
    path = write(tmp_path / "dissect.json", json.dumps(QUICK))
    refused(path, r"has 2 layers \(conv5, conv4\); say which")
    names = read(path, layer="conv5")
    sky = names[0]
    assert (sky.concept, sky.threshold, sky.quantile, sky.truth, sky.activation, sky.intersection) == (
        *("sky", 2.5, 0.01),
        *(30, 20, 10),
    )
    assert names[1].concept == ""
    assert names.about["layer"] == "conv5"
    assert names.about["model"] == "alexnet"
    assert read(path, layer="conv4")[0].concept == "dog"


def spoiled(whole: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> str:
    copy: dict[str, Any] = json.loads(json.dumps(whole))
    change(copy)
    return json.dumps(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (spoiled(REPORT, lambda r: r["units"][0].pop("label")), r"units\[0\] lacks label"),
        (spoiled(REPORT, lambda r: r["units"][0].update(iou="many")), r"units\[0\]: iou is 'many', not a number"),
        (spoiled(REPORT, lambda r: r["units"][0].update(iou=True)), r"iou is True, not a number"),
        (spoiled(REPORT, lambda r: r["units"][0].update(label=7)), r"label and cat must be texts, not 7"),
        (spoiled(REPORT, lambda r: r["units"][1].update(unit=0)), "unit 0 stands there twice"),
        (spoiled(REPORT, lambda r: r.update(units=3)), "has no list of units"),
        (
            spoiled(QUICK, lambda r: r["layers"].pop() and r["layers"][0]["units"][0].update(ic=9)),
            "lc, cc, ic give anoth",
        ),
        (spoiled(QUICK, lambda r: r["layers"][1].update(layer="conv5")), "has layer 'conv5' 2 times"),
        (json.dumps(REPORT)[:-5], "is not whole JSON"),
        ("[" * 100_000, "is not whole JSON"),
        ("3", "holds no names"),
        ('[{"unit": 0}]', "entry 0 lacks unit or concept"),
        ('[{"unit": 0, "concept": 5}]', "concept is 5, not a text"),
        ('{"0": "dog", "x": "cat"}', "unit is 'x', not a number"),
        ('{"format": "vlx neuron names", "schema": 9, "about": {}, "units": 1, "names": []}', "schema 9, .*update vlx"),
        ('{"format": "vlx neuron names", "schema": 1, "about": 3, "units": 1, "names": []}', "about is no object"),
    ],
)
def test_broken_json_is_refused(text: str, message: str, tmp_path: Path) -> None:
    refused(write(tmp_path / "report.json", text), message)


@pytest.mark.parametrize(
    "text", ['{"0": "dog", "1": "cat"}', '[{"unit": 1, "concept": "cat"}, {"unit": 0, "concept": "dog"}]']
)
def test_plain_json(text: str, tmp_path: Path) -> None:
    names = read(write(tmp_path / "names.json", text))
    assert [one.concept for one in names] == ["dog", "cat"]
    assert names.about["metric"] == "none"


# Ours


def imported() -> NeuronNames:
    """Names without counts: of two categories, without IoU, and a unit without a name."""
    one = UnitName(0, 'a "big", dog\nrun', "object", 0.2, 0.2, 0.01, 3, 4, 1.5, 0.005, 10, 30, 30)
    return NeuronNames(
        ((one, UnitName(0, "fur", "part", 0.1, 0.1)), (), (UnitName(2, "größer", score=-0.5),), ()),
        {"source": "somewhere", "metric": "iou", "images": np.int64(3), "quantiles": (0.005,), "where": Path("a/b")},
        denominator="lite",
    )


@pytest.mark.parametrize("ending", [".h5", ".csv", ".json", ".H5"])
@pytest.mark.parametrize("make", [imported, dissected])
def test_names_come_back_equal(make: Callable[[], NeuronNames], ending: str, tmp_path: Path) -> None:
    names = make()
    path = names.save(tmp_path / f"names{ending}")
    assert path == tmp_path / f"names{ending}"
    again = read(path)
    assert same(again, names)
    assert len(again) == len(names)
    if ending != ".csv":
        assert again.about.items() >= json.loads(json.dumps(names.about, default=formats.plain.as_plain)).items()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_hdf5_keeps_every_count(tmp_path: Path) -> None:
    names = dissected().choose(quantile=0.2, denominator="all", categories=["part"])
    again = load(names.save(tmp_path / "names.h5"))
    assert names.tally is not None and again.tally is not None
    for name in ("intersection", "truth", "activation", "area", "thresholds", "tied", "examples"):
        one, other = getattr(names.tally, name), getattr(again.tally, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert again.tally.concepts == names.tally.concepts
    assert isinstance(again.tally.concepts[0], Concept)
    assert again.tally.quantiles == names.tally.quantiles
    assert (again.quantile, again.denominator, again.categories) == (0.2, "all", ("part",))
    assert again.about == names.about
    assert same(again, names)


def test_counts_take_32_bits_where_they_fit(tmp_path: Path) -> None:
    names = dissected()
    assert names.tally is not None
    with h5py.File(names.save(tmp_path / "small.h5")) as file:
        assert file["tally/intersection"].dtype == np.int32
        assert file["tally/intersection"].compression == "gzip"
    large = replace(names.tally, area=names.tally.area + 2**40)
    again = load(replace(names, tally=large).save(tmp_path / "large.h5"))
    assert again.tally is not None
    assert np.array_equal(again.tally.area, large.area)


def test_an_unsorted_order_of_categories_comes_back(tmp_path: Path) -> None:
    names = dissected()
    assert names.tally is not None
    order = [4, 0, 5, 1, 2, 3, 6]  # parts first
    tally = replace(
        names.tally,
        concepts=tuple(names.tally.concepts[n] for n in order),
        intersection=names.tally.intersection[..., order],
        truth=names.tally.truth[..., order],
        activation=names.tally.activation[..., ::-1],
        area=names.tally.area[..., ::-1],
    )
    assert same(load(replace(names, tally=tally).save(tmp_path / "names.h5")), names)


def test_nothing_is_written_when_something_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = imported().save(tmp_path / "names.h5")
    before = path.read_bytes()

    def broken(*_: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(formats.hdf5, "_write_texts", broken)
    with pytest.raises(InputError, match="cannot be written"):
        dissected().save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["names.h5"]


def test_other_endings_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"names are saved as \.h5, \.csv, \.json, not \.txt"):
        imported().save(tmp_path / "names.txt")
    with pytest.raises(OutputError, match="no such folder"):
        imported().save(tmp_path / "deep" / "names.h5")
    with pytest.raises(InputError, match=r"loaded from \.h5; open other formats with vlx\.neuron_names\.read"):
        load(tmp_path / "names.csv")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "names.h5")


def test_truncated_and_foreign_hdf5_is_refused(tmp_path: Path) -> None:
    whole = dissected().save(tmp_path / "names.h5").read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 64):
        (tmp_path / "cut.h5").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.h5 is not a whole table of names .*; save it again"):
            load(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match=r"other\.h5 was not written by NeuronNames\.save"):
        load(tmp_path / "other.h5")


def test_damage_anywhere_in_the_file_is_an_input_error_or_harmless(tmp_path: Path) -> None:
    whole = bytearray(dissected().save(tmp_path / "names.h5").read_bytes())
    random = np.random.default_rng(0)
    path = tmp_path / "hurt.h5"
    for place in random.integers(0, len(whole), 150):
        hurt = bytearray(whole)
        hurt[place] ^= 0xFF
        path.write_bytes(hurt)
        try:
            load(path)
        except InputError as error:
            assert "hurt.h5" in str(error)


def alter(name: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def spoil(file: Any) -> None:
        if name in file.attrs:
            file.attrs[name] = change(file.attrs[name])
            return
        values = change(file[name][()])
        del file[name]
        file[name] = values

    return spoil


def rise(place: tuple[int, ...], value: float | str) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values[place] = value
        return values

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (alter("schema", lambda _: 2), r"has schema 2, this vlx reads up to 1; update vlx"),
        (alter("format", lambda _: "something"), r"was not written by NeuronNames\.save"),
        (alter("about", lambda _: "{"), r"is not a whole table"),
        (alter("about", lambda _: "[]"), r"is not a whole table"),
        (alter("denominator", lambda _: "half"), r"denominator 'half'"),
        (alter("units", lambda _: 4), r"5 thresholds for 4 units"),
        (alter("quantile", lambda _: 0.3), r"quantile 0\.3 was not counted"),
        (alter("units/threshold", rise((0, 1), np.nan)), r"a threshold is not a number"),
        (alter("units/threshold", lambda v: v[:, 1:]), r"units/threshold has shape \(2, 4\), not \(2, 5\)"),
        (alter("units/tied", lambda v: v[:1]), r"units/tied has shape"),
        (alter("units/examples", lambda v: v[:2]), r"2 rows of examples for 5 units"),
        (alter("tally/intersection", lambda v: v[..., 1:]), r"tally/intersection has shape"),
        (alter("tally/intersection", lambda v: v.astype(float)), r"tally/intersection|whole numbers"),
        (alter("tally/intersection", rise((0, 0, 0, 0), -1)), r"an intersection is negative"),
        (alter("tally/intersection", rise((1, 0, 0, 0), 10**6)), r"an intersection exceeds its concept"),
        (alter("tally/truth", rise((0, 0), 10**6)), r"a concept has more pixels than its pictures"),
        (alter("tally/activation", lambda v: v * 0), r"an intersection exceeds its mask"),
        (alter("tally/activation", lambda v: v[::-1]), r"masks in some pictures exceed those in all|rules"),
        (alter("tally/activation", rise((1, 0, 0, 0, 0), 600)), r"masks in some pictures exceed those in all"),
        (alter("tally/activation", rise((1, 0, 1, 0, 0), 0)), r"an intersection exceeds its mask"),
        (alter("tally/area", lambda v: v[:, :1]), r"tally/area has shape"),
        (alter("tally/quantiles", rise((0,), 1.5)), r"quantiles .* are not between 0 and 1"),
        (lambda file: file.__delitem__("tally/truth"), r"is not a whole table"),
        (alter("concepts/name", rise((1,), "bird")), r"a concept stands there twice"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(
    spoil: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    path = dissected().choose(quantile=0.2).save(tmp_path / "names.h5")
    with h5py.File(path, "r+") as file:
        rules = file["tally/activation"].attrs["rules"]
        spoil(file)
        if "tally/activation" in file:
            file["tally/activation"].attrs["rules"] = rules
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert "names.h5" in str(caught.value)


def test_activation_of_other_rules_is_refused(tmp_path: Path) -> None:
    path = dissected().save(tmp_path / "names.h5")
    with h5py.File(path, "r+") as file:
        file["tally/activation"].attrs["rules"] = '["all", "lite", "paper"]'
    with pytest.raises(InputError, match="activation is counted by"):
        load(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (alter("units", lambda _: 2), r"names of units 0 to 2, but there are 2"),
        (alter("names/iou", lambda v: v[1:]), r"differ in length"),
        (alter("names/unit", rise((0,), -1)), r"is not a whole table"),
        (lambda file: file["names"].__delitem__("concept"), r"is not a whole table"),
    ],
)
def test_a_damaged_list_of_names_is_refused(spoil: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    path = imported().save(tmp_path / "names.h5")
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(InputError, match=message):
        load(path)


def test_a_wrong_tally_is_not_even_written(tmp_path: Path) -> None:
    names = dissected()
    assert names.tally is not None
    wrong = replace(names.tally, truth=names.tally.truth // 2)
    with pytest.raises(InputError, match=r"names\.h5: an intersection exceeds its concept"):
        replace(names, tally=wrong).save(tmp_path / "names.h5")
    assert not list(tmp_path.iterdir())


def test_public_names() -> None:
    assert neuron_names.read is formats.read
    assert neuron_names.load is formats.load
    assert set(SMALL) | {"netdissect", "netdissect-lite", "dissect", "quick-netdissect", "json"} == set(formats.FORMATS)
