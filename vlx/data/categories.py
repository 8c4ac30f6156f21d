"""Which words of a caption name which of COCO's 80 categories: an object must be looked for where it was outlined."""

from collections.abc import Sequence

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
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def _table() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for category, words in WORDS.items():
        for word in words.split():
            for form in (word, plural(word)):
                table[form] = (*table.get(form, ()), category)
    return table


CATEGORIES_OF = _table()


def named(words: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Which words of a caption, in lower case, name which categories: {position: categories}, most often one.

    Of a name of two words the second one counts, and no longer by itself: a hot dog is no dog. Before "station" and
    the like a word says what kind, and names nothing.

    >>> named("a man eats two hot dogs".split())
    {1: ('person',), 5: ('hot dog',)}
    """
    categories = {}
    for place, word in enumerate(words):
        both = CATEGORIES_OF.get(f"{words[place - 1]}_{word}") if place else None
        meant = both or CATEGORIES_OF.get(word)
        if meant and words[place + 1 : place + 2] and words[place + 1] in _AFTER:
            continue
        if meant:
            categories[place] = meant
            if both:
                categories.pop(place - 1, None)
    return categories
