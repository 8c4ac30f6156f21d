"""How right an answer is where ten people gave theirs: the rule of VQA's own evaluation, and how it spells answers."""

import re
from collections.abc import Sequence

from vlx.errors import InputError

AGREED = 3  # people who have to have said it for it to be all right
_NUMBERS = dict(zip("zero one two three four five six seven eight nine ten".split(), map(str, range(11)), strict=True))
NUMBERS = {"none": "0", **_NUMBERS}
ARTICLES = frozenset(("a", "an", "the"))
MARKS = ';/[]"{}()=+\\_-><@`,?!'
_POINT = re.compile(r"\.(?!\d)")
_THOUSANDS = re.compile(r"\d,\d")
_SHORT = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()
CONTRACTIONS = (
    {  # as they are written without one of their apostrophes
        word[:place] + word[place + 1 :]: word for word in _SHORT for place, char in enumerate(word) if char == "'"
    }
    | {"somebody'd": "somebodyd"}
)


def vqa_accuracy(said: str, answers: Sequence[str]) -> float:
    """How far people agree with an answer, from 0 to 1, as VQA's evaluation counts it.

    Of all ten ways to leave one person out, the mean of min(n / 3, 1), n of the others having said the same. Spelling
    is evened out (see `spelled`) where people did not all say the same. Raises InputError where nobody answered.

    >>> vqa_accuracy("Yes.", ["yes", "yes", "yes", *7 * ["no"]])
    0.9
    """
    if not answers:
        raise InputError("nobody's answers to compare with; give those of the question, ask.answers")
    said, told = _one_line(said), [_one_line(answer) for answer in answers]
    if len(set(told)) > 1:
        said, told = spelled(said), [spelled(answer) for answer in told]
    same = told.count(said)
    left, other = min((same - 1) / AGREED, 1.0), min(same / AGREED, 1.0)
    return (same * max(left, 0.0) + (len(told) - same) * other) / len(told)


def spelled(answer: str) -> str:
    """An answer as VQA's evaluation compares it: lower case, without articles and marks, numbers up to ten as digits.

    >>> spelled("The two dogs, isnt it?")
    "2 dogs isn't it"
    """
    text = answer
    for mark in MARKS:
        beside = f"{mark} " in answer or f" {mark}" in answer or _THOUSANDS.search(answer) is not None
        text = text.replace(mark, "" if beside else " ")
    words = (NUMBERS.get(word, word) for word in _POINT.sub("", text).lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
