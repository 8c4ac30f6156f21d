"""Write what each class of ImageNet is called, and what kind of thing that is: ``python tools/kinds.py``.

Needs WordNet 3.0 (``apt-get install wordnet-base``) and writes ``tasks/photos/kinds.json``, so that nobody else does.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

WORDNET = Path("/usr/share/wordnet")
OUT = Path(__file__).resolve().parents[1] / "tasks" / "photos" / "kinds.json"
SOURCE = "WordNet 3.0, Copyright 2006 by Princeton University; its licence is in WORDNET.txt"

# Classes whose sense is neither the commonest nor told by the order of the classes, which is that of offsets.
SENSES = {
    "goldfinch": "01531178",
    "green snake": "01729977",
    "partridge": "01807496",
    "jellyfish": "01910747",
    "king crab": "01981276",
    "red fox": "02119022",
    "altar": "02699494",
    "barrel": "02795169",
    "binder": "02840245",
    "bobsled": "02860847",
    "bow": "02879718",
    "brass": "02892201",
    "cab": "02930766",
    "carousel": "02966193",
    "dock": "03216828",
    "dome": "03220513",
    "gondola": "03447447",
    "hammer": "03481172",
    "hook": "03532672",
    "iron": "03584829",
    "liner": "03673027",
    "mailbag": "03709823",
    "monitor": "03782006",
    "mortar": "03786901",
    "mortarboard": "03787032",
    "paddle": "03873416",
    "pajama": "03877472",
    "palace": "03877845",
    "pier": "03933933",
    "plane": "03954731",
    "pot": "03991062",
    "radio": "04041544",
    "screen": "04152593",
    "shield": "04192698",
    "slot": "04243546",
    "stove": "04330267",
    "swab": "04367480",
    "upright": "04515003",
    "vault": "04523525",
    "volcano": "09472597",
    "washbasin": "04553703",
    "washer": "04554684",
    "corn": "12144580",
}
RESPELLED = {"crane bird": "crane", "maillot tank suit": "tank suit"}
GENERAL = (  # kinds too general to say what a thing is: the way up ends below them
    "00001740 entity",
    "00001930 physical entity",
    "00002684 object",
    "00003553 whole",
    "00004258 living thing",
    "00004475 organism",
    "00015388 animal",
    "00019613 substance",
    "00020827 matter",
    "00021939 artifact",
    "03575240 instrumentality",
    "03183080 device",
    "03094503 container",
    "03294048 equipment",
    "03122748 covering",
    "03076708 commodity",
    "04341686 structure",
    "09287968 geological formation",
)


class Nouns(NamedTuple):
    """WordNet's nouns: names and wider synsets by offset, offsets by name, the commonest sense first."""

    names: Mapping[str, Sequence[str]]
    wider: Mapping[str, Sequence[str]]
    senses: Mapping[str, Sequence[str]]


def nouns(folder: Path) -> Nouns:
    """Read ``data.noun`` and ``index.noun`` (their format: man 5 wndb)."""
    names, wider, senses = {}, {}, {}
    for line in (folder / "data.noun").read_text(encoding="ascii").splitlines():
        if line.startswith("  "):
            continue  # the licence
        fields = line.partition(" | ")[0].split()
        end = 4 + 2 * int(fields[3], 16)
        names[fields[0]] = [name.replace("_", " ") for name in fields[4:end:2]]
        pointers = [fields[at : at + 2] for at in range(end + 1, end + 1 + 4 * int(fields[end]), 4)]
        wider[fields[0]] = [offset for symbol, offset in pointers if symbol in ("@", "@i")]
    for line in (folder / "index.noun").read_text(encoding="ascii").splitlines():
        if not line.startswith("  "):
            fields = line.split()
            senses[fields[0].replace("_", " ")] = fields[-int(fields[2]) :]
    return Nouns(names, wider, senses)


def synsets(classes: Sequence[str], senses: Mapping[str, Sequence[str]]) -> list[str]:
    """The synset of each class: the commonest senses that leave the classes in the order of their offsets."""
    ways: list[tuple[int, str, tuple[str, ...]]] = [(0, "", ())]
    for name in classes:
        listed = [SENSES[name]] if name in SENSES else senses[RESPELLED.get(name, name).lower()]
        made = []
        for rank, offset in enumerate(listed):
            known = [way for way in ways if way[1] < offset]
            if known:
                least, _, before = min(known)
                made.append((least + rank, offset, (*before, offset)))
        ways = made
    return list(min(ways)[2])


def table(found: Sequence[str], wordnet: Nouns) -> dict[str, object]:
    """Kinds by number: what each is called, in one word where it can be, the wider kinds; and each class's kind."""
    general = {entry.split()[0] for entry in GENERAL}
    numbers: dict[str, int] = {}
    waiting = list(found)
    while waiting:
        offset = waiting.pop(0)
        if offset not in numbers and offset not in general:
            numbers[offset] = len(numbers)
            waiting += wordnet.wider[offset]
    return {
        "source": SOURCE,
        "names": [_short(wordnet.names[offset]) for offset in numbers],
        "wider": [[numbers[one] for one in wordnet.wider[offset] if one in numbers] for offset in numbers],
        "classes": [numbers[offset] for offset in found],
    }


def _short(names: Sequence[str]) -> list[str]:
    """The first name, and the others that are one word."""
    words = [name.lower() for name in names[1:] if " " not in name]
    return list(dict.fromkeys([names[0], *words]))


def main() -> None:
    """Write the table."""
    from torchvision.models import ResNet50_Weights

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--wordnet", type=Path, default=WORDNET)
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    wordnet = nouns(given.wordnet)
    made = table(synsets(ResNet50_Weights.DEFAULT.meta["categories"], wordnet.senses), wordnet)
    given.out.write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
