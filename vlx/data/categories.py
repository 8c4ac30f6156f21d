"""Which words of a caption name which category: an object must be looked for where it was outlined."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from vlx.data.lexicon import singular, verb_of
from vlx.errors import InputError
from vlx.files import json_files
from vlx.language import close_matches, shortened

# A category, and the words that name it, in the singular where they have one; two words are one name ("hot dog").
WORDS = {
    "person": """person man woman boy girl child kid baby toddler infant guy lady gentleman people men women children
    human crowd player rider skateboarder surfer skier snowboarder batter pitcher catcher umpire cyclist biker
    bicyclist motorcyclist swimmer climber runner hiker worker teenager teen adult family audience spectator pedestrian
    policeman officer soldier chef boarder golfer""",
    "bicycle": "bicycle bike",
    "car": "car taxi cab suv sedan",
    "motorcycle": "motorcycle motorbike bike moped",
    "airplane": "airplane plane jet aeroplane aircraft airliner",
    "bus": "bus",
    "train": "train locomotive",
    "truck": "truck pickup",
    "boat": "boat ship sailboat canoe kayak ferry",
    "traffic light": "traffic_light traffic_signal stoplight",
    "fire hydrant": "hydrant",
    "stop sign": "stop_sign",
    "parking meter": "meter",
    "bench": "bench",
    "bird": "bird duck seagull pigeon parrot goose geese swan",
    "cat": "cat kitten kitty",
    "dog": "dog puppy",
    "horse": "horse pony",
    "sheep": "sheep lamb",
    "cow": "cow cattle bull calf calves",
    "elephant": "elephant",
    "bear": "bear",
    "zebra": "zebra",
    "giraffe": "giraffe",
    "backpack": "backpack",
    "umbrella": "umbrella parasol",
    "handbag": "handbag purse",
    "tie": "tie necktie",
    "suitcase": "suitcase luggage",
    "frisbee": "frisbee",
    "skis": "skis",
    "snowboard": "snowboard",
    "sports ball": "ball",
    "kite": "kite",
    "baseball bat": "bat",
    "baseball glove": "glove mitt",
    "skateboard": "skateboard",
    "surfboard": "surfboard",
    "tennis racket": "racket racquet",
    "bottle": "bottle",
    "wine glass": "wine_glass",
    "cup": "cup mug",
    "fork": "fork",
    "knife": "knife knives",
    "spoon": "spoon",
    "bowl": "bowl",
    "banana": "banana",
    "apple": "apple",
    "sandwich": "sandwich",
    "orange": "orange",
    "broccoli": "broccoli",
    "carrot": "carrot",
    "hot dog": "hot_dog hotdog",
    "pizza": "pizza",
    "donut": "donut doughnut",
    "cake": "cake",
    "chair": "chair",
    "couch": "couch sofa",
    "potted plant": "plant",
    "bed": "bed",
    "dining table": "table",
    "toilet": "toilet",
    "tv": "tv television monitor",
    "laptop": "laptop",
    "mouse": "mouse",
    "remote": "remote",
    "keyboard": "keyboard",
    "cell phone": "phone cellphone",
    "microwave": "microwave",
    "oven": "oven stove",
    "toaster": "toaster",
    "sink": "sink",
    "refrigerator": "refrigerator fridge",
    "book": "book",
    "clock": "clock",
    "vase": "vase",
    "scissors": "scissors",
    "teddy bear": "teddy_bear teddy",
    "hair drier": "drier dryer",
    "toothbrush": "toothbrush",
}

_AFTER = frozenset("station stop depot terminal track tracks lot".split())  # a train station is no train


def plural(word: str) -> str:
    """The regular plural: "dog" → "dogs", "bus" → "buses", "puppy" → "puppies"."""
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in ("a", "e", "i", "o", "u") else word + "s"


class CategoryWords:
    """Tells which words of captions name which of a data set's ``categories``.

    What comes first overrules: ``told``, {word or words: categories}, which may say that a word names none; a
    category's own name, where it is none of COCO's; the list of words for COCO's categories; the other words that
    ``synonyms`` has for a category, see `vlx.data.lexicon.wordnet_synonyms`. All in the singular and the plural.

    >>> CategoryWords(["dog", "fire truck"]).named("two puppies by fire trucks".split())
    {1: ('dog',), 4: ('fire truck',)}
    """

    def __init__(
        self,
        categories: Iterable[str],
        told: Mapping[str, Sequence[str]] | None = None,
        synonyms: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        self.categories = tuple(dict.fromkeys(categories))
        listed = {word: names for word, names in CATEGORIES_OF.items() if not set(names).isdisjoint(self.categories)}
        named = {name: [name] for name in self.categories if name not in WORDS}
        more = {} if synonyms is None else {name: synonyms(name) for name in self.categories}
        overruling = {form: tuple(names) for words, names in (told or {}).items() for form in _forms(words)}
        self._table = {**_table(more), **listed, **_table(named), **overruling}
        self._longest = max((word.count("_") + 1 for word in self._table), default=1)

    def named(self, words: Sequence[str]) -> dict[int, tuple[str, ...]]:
        """Which words of a caption, in lower case, name which categories: {position: categories}, most often one.

        Of a name of several words the last one counts, and no other by itself: a hot dog is no dog. Before "station"
        and the like a word says what kind, and names nothing.
        """
        categories: dict[int, tuple[str, ...]] = {}
        for place in range(len(words)):
            first, meant = self._meant(words, place)
            if not meant or (words[place + 1 : place + 2] and words[place + 1] in _AFTER):
                continue
            for inside in range(first, place):
                categories.pop(inside, None)
            categories[place] = meant
        return categories

    def _meant(self, words: Sequence[str], place: int) -> tuple[int, tuple[str, ...]]:
        """Where the longest name that ends at a place begins, and the categories it names."""
        for first in range(max(place + 1 - self._longest, 0), place + 1):
            before, last = words[first:place], words[place]
            for form in (last, singular(last) if verb_of(last) is None else last):
                if (meant := self._table.get("_".join([*before, form]))) is not None:
                    return first, meant
        return place, ()

    def said(self, category: str, like: str) -> str | None:
        """One word for a category, in the plural where the word ``like`` is; None where it takes several words.

        >>> CategoryWords(["dog", "traffic light"]).said("dog", like="cars")
        'dogs'
        """
        words = WORDS.get(category, _joined(category)).split()
        single = next((word for word in words if "_" not in word), None)
        return single if single is None or singular(like) == like else plural(single)


def _table(words_of_names: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Word → the names that it stands for, of words by name."""
    table: dict[str, tuple[str, ...]] = {}
    for name, words in words_of_names.items():
        for form in dict.fromkeys(form for one in words for form in _forms(one)):
            table[form] = (*table.get(form, ()), name)
    return table


def _forms(words: str) -> tuple[str, str]:
    """A word, or several as "hot_dog", in lower case, and the plural."""
    joined = _joined(words)
    return joined, plural(joined)


def _joined(words: str) -> str:
    return "_".join(words.lower().replace("_", " ").replace("-", " ").split())


CATEGORIES_OF = _table({category: words.split() for category, words in WORDS.items()})
OF_COCO = CategoryWords(WORDS)


def named(words: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Which words of a caption, in lower case, name which of COCO's categories; see `CategoryWords.named`.

    >>> named("a man eats two hot dogs".split())
    {1: ('person',), 5: ('hot dog',)}
    """
    return OF_COCO.named(words)


def told_words(
    given: Path | Mapping[str, Sequence[str] | str], categories: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Words and the categories they name, {"pup": "dog", "bat": []}, or a JSON file of them, for `CategoryWords`.

    Raises InputError for anything else, and for a category that is none of the data's.
    """
    path, content = (given, json_files.read(given)) if isinstance(given, Path) else ("words", given)
    if not isinstance(content, Mapping):
        raise InputError(f'{path}: needed is an object of words and categories, as {{"pup": "dog", "bat": []}}')
    told: dict[str, tuple[str, ...]] = {}
    for words, named_by in content.items():
        names = [named_by] if isinstance(named_by, str) else named_by
        listed = isinstance(names, list | tuple) and all(isinstance(one, str) for one in names)
        if not _joined(words) or not listed:
            raise InputError(
                f"{path}: {shortened(repr(words))} is {shortened(repr(named_by))}; give a category or a list"
            )
        for name in names:
            if name not in categories:
                near = ", ".join(close_matches(name, categories))
                raise InputError(
                    f"{path}: {shortened(repr(words))} names {shortened(repr(name))}, which is no category of the data"
                    + (f"; close: {near}" if near else "")
                )
        told[words] = tuple(dict.fromkeys(names))
    return told
