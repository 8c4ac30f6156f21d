"""`open_data`: a set of labelled pictures by its name."""

from pathlib import Path

from vlx.data.broden import BrodenData
from vlx.data.captions import PREFIX as CAPTIONS
from vlx.data.captions import open_captions
from vlx.data.coco import CocoData
from vlx.data.example import ConceptData
from vlx.data.folder import LISTS, LabelledFolder
from vlx.data.scenes import SceneData
from vlx.errors import InputError, in_own_words

PREFIX = "scenes:"
UNDERSTOOD = (
    "scenes:COUNT[:FIRST] (drawn scenes), a folder in the Broden layout (index.csv), a folder with images/, labels/ "
    f"and one of {', '.join(LISTS)}, a COCO instance file (.json), or captions:DIR (captioned photographs)"
)


@in_own_words("the data set cannot be opened", bugs=True)
def open_data(spec: "str | Path | ConceptData") -> ConceptData:
    """Labelled pictures by name, for `dissect`; raises InputError for anything not understood.

    ``spec``: "scenes:2000", "scenes:2000:FIRST" with the first seed, a folder in the Broden layout, a folder with
    ``images/``, ``labels/`` and a list of labels, a COCO instance file; "captions:DIR", "captions:DIR:train" (a split
    of Flickr8k) and "captions:scenes:2000" are pictures with captions alone; or such data, which is handed back.
    """
    if isinstance(spec, ConceptData):
        return spec
    if not isinstance(spec, str | Path):
        raise InputError(f"{spec!r} is no labelled pictures; give such data, or a name: {UNDERSTOOD}")
    if str(spec).startswith(PREFIX):
        return _scenes(str(spec))
    if str(spec).startswith(CAPTIONS):
        return open_captions(str(spec))
    path = Path(spec)
    if path.is_file() and path.suffix.lower() == ".json":
        return CocoData(path)
    if (path / "index.csv").is_file():
        return BrodenData(path)
    if (path / "images").is_dir() and any((path / name).is_file() for name in LISTS):
        return LabelledFolder(path)
    manifest = next((file for file in (path / "scenes.json", path / "instances.json") if file.is_file()), None)
    if manifest is not None:
        return CocoData(manifest)
    raise InputError(
        f"{spec}: no labelled pictures {'there' if path.exists() else 'of that name'}; understood are {UNDERSTOOD}"
    )


def _scenes(spec: str) -> SceneData:
    numbers = spec.removeprefix(PREFIX).split(":")
    if not 1 <= len(numbers) <= 2 or not all(part.isdigit() for part in numbers):
        raise InputError(f"{spec}: scenes are named scenes:COUNT or scenes:COUNT:FIRST, such as scenes:2000")
    return SceneData(*map(int, numbers))
