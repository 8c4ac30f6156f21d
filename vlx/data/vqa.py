"""VQA, first and second release: questions about COCO's pictures, ten people's answers, and where people looked.

v2_OpenEnded_mscoco_val2014_questions.json      "questions": image_id, question, question_id
v2_mscoco_val2014_annotations.json              "annotations": question_id, image_id, answer_type, answers, …
val2014/COCO_val2014_000000000042.jpg           found by the number at the end of its name; abstract scenes, too
hat/1000_1.png                                  human maps (VQA-HAT) by question and person
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlx.data.annotations import LeftOut
from vlx.data.coco import MISSING
from vlx.data.example import Ask, Example, Truth
from vlx.data.files import ENDINGS, digest_of, files_in
from vlx.data.human_maps import human_map, human_maps
from vlx.errors import InputError
from vlx.files.json_lists import Members
from vlx.language import shortened
from vlx.protocol.targets import Query

FORM = "vqa2:QUESTIONS.json,ANNOTATIONS.json,DIR[,hat=DIR]"
HAT = "hat="
ABSTRACT = "abstract"  # how the names of drawn scenes begin
UNANSWERED, UNASKED, EMPTY = "no answers told", "answers without a question", "the answer is empty"
UNSEEN, UNWATCHED = "human maps of no question here", "no human map"
NUMBER = re.compile(r"(\d+)$")
QUESTION: Mapping[str, type] = {"question_id": int, "image_id": int, "question": str}
ANNOTATION: Mapping[str, type] = {"question_id": int, "image_id": int, "answers": list}
MORE: Mapping[str, type] = {"answer_type": str, "multiple_choice_answer": str}  # which may be left out
UNTYPED = "question"  # the group of questions whose type of answer is not told


class _Asked(NamedTuple):
    number: int
    text: str
    kind: str
    answer: str
    answers: tuple[str, ...]


class VqaData:
    """The pictures that are asked about, in order of their numbers; the answer most people gave is asked for.

    It is the annotations' ``multiple_choice_answer``, counted from the answers where they do not tell. Questions are
    grouped by the type of their answer ("yes/no", "number", "other"); ``ask.answers`` are what the ten
    people said, for `vlx.data.vqa_accuracy`. With human maps only those questions that have some are asked, and others
    counted in ``left_out``, as are those without a picture or an answer. Raises InputError naming the file and record
    that cannot be used.
    """

    licence = "VQA: CC BY 4.0; pictures under their Flickr licences; VQA-HAT: see its source"

    def __init__(
        self,
        questions: str | Path,
        annotations: str | Path,
        folder: str | Path,
        hat: str | Path | None = None,
        name: str | None = None,
    ) -> None:
        told = f",{HAT}{hat}" if hat is not None else ""
        self.name = f"vqa2:{questions},{annotations},{folder}{told}" if name is None else name
        self._lists, left = (Path(questions), Path(annotations)), LeftOut()
        self._maps = {} if hat is None else human_maps(Path(hat))
        asked, others = _questions(self._lists[0])
        by_picture: dict[int, list[_Asked]] = defaultdict(list)
        for picture, one in _answered(self._lists[1], asked, left):
            if hat is not None and one.number not in self._maps:
                left.add(UNWATCHED, str(one.number))
            else:
                by_picture[picture].append(one)
        left.add(UNANSWERED, *(str(number) for number, (_, _, answered) in asked.items() if not answered))
        left.add(UNSEEN, *(str(number) for number in self._maps if number not in asked))
        maps = {path for paths in self._maps.values() for path in paths}
        pictures = [path for path in files_in(Path(folder), ENDINGS) if path not in maps]
        places = _numbered(pictures, str(others.get("data_subtype", "")), str(others.get("data_type", "")))
        self._rows = [(places[number], by_picture[number]) for number in sorted(by_picture) if number in places]
        left.add(MISSING, *(str(number) for number in sorted(by_picture) if number not in places))
        self.left_out = left.told
        if not self._rows:
            raise InputError(
                f"{folder}: none of the {len(by_picture)} pictures that are asked about is there; give their folder"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Example:
        path, asked = self._rows[number]
        return Example(path.name, path, asks=lambda: tuple(map(self._ask, asked)))

    def files(self, number: int) -> list[Path]:
        """The picture's file and those of the human maps of its questions."""
        path, asked = self._rows[number]
        return [path, *(one for ask in asked for one in self._maps.get(ask.number, ()))]

    def digest(self) -> str:
        """Of questions and answers, and of names and sizes of pictures and human maps."""
        return digest_of(self._lists, (path for number in range(len(self)) for path in self.files(number)))

    def _ask(self, asked: _Asked) -> Ask:
        maps = self._maps.get(asked.number, ())
        truth = Truth(human=lambda: human_map(maps)) if maps else None
        query = Query(question=asked.text, answer=asked.answer)
        return Ask(query, group=asked.kind, truth=truth, answers=asked.answers)


def open_vqa(rest: str) -> VqaData:
    """Data by what follows "vqa2:"; raises InputError for what is neither there nor VQA's."""
    parts = rest.split(",")
    hats = [part.removeprefix(HAT) for part in parts if part.startswith(HAT)]
    files = [part for part in parts if not part.startswith(HAT)]
    if len(files) != 3 or len(hats) > 1 or not all(parts) or "" in hats:
        raise InputError(f"vqa2:{shortened(rest, 100)}: write {FORM}")
    return VqaData(files[0], files[1], files[2], hats[0] if hats else None, f"vqa2:{rest}")


_Told = dict[int, tuple[int, str, bool]]  # number of a question → its picture, its text, whether it was answered


def _questions(path: Path) -> tuple[_Told, Mapping[str, Any]]:
    """The questions, and what else their file tells."""
    members, told = Members(path, "questions"), _Told()
    for place, record in enumerate(members):
        where = f"{path}: questions[{place}]"
        _require(record.content, QUESTION, where)
        number, picture, text = (record.content[name] for name in QUESTION)
        if number in told:
            raise InputError(f"{where} has question_id {number}, as one before it; keep one of them")
        if not text.strip():
            raise InputError(f"{where} has an empty question; write it, or take the record away")
        told[number] = (picture, text.strip(), False)
    return told, members.others


def _answered(path: Path, asked: _Told, left: LeftOut) -> Iterator[tuple[int, _Asked]]:
    """Picture and question of each annotation; those that were answered are marked."""
    words: dict[str, str] = {}  # of a word of which there are many there is one
    for place, record in enumerate(Members(path, "annotations")):
        where, content = f"{path}: annotations[{place}]", record.content
        _require(content, {**ANNOTATION, **{name: kind for name, kind in MORE.items() if name in content}}, where)
        number, picture, people = (content[name] for name in ANNOTATION)
        if number not in asked:
            left.add(UNASKED, str(number))
            continue
        about, text, answered = asked[number]
        if answered:
            raise InputError(f"{where} has question_id {number}, as one before it; keep one of them")
        if about != picture:
            raise InputError(
                f"{where} is about picture {picture}, its question {number} about {about}; give one of them"
            )
        answers = tuple(words.setdefault(said, said) for said in _people(people, where))
        asked[number] = (about, text, True)
        kind, answer = content.get("answer_type", UNTYPED), content.get("multiple_choice_answer")
        answer = Counter(answers).most_common(1)[0][0] if answer is None else answer
        if answer.strip():
            kind, answer = (words.setdefault(one, one) for one in (kind, answer.strip()))
            yield picture, _Asked(number, text, kind, answer, answers)
        else:
            left.add(EMPTY, str(number))


def _people(answers: Sequence[Any], where: str) -> Iterator[str]:
    if not answers:
        raise InputError(f"{where} has no answers; give those that people gave")
    for place, one in enumerate(answers):
        if not isinstance(one, Mapping) or not isinstance(one.get("answer"), str):
            raise InputError(f'{where} has answers[{place}] {shortened(repr(one), 60)}; give {{"answer": "red"}}')
        yield one["answer"]


def _require(record: Mapping[str, Any], needed: Mapping[str, type], where: str) -> None:
    """Raise InputError for a record that lacks something, or has it in another kind."""
    for name, kind in needed.items():
        if name not in record:
            raise InputError(f"{where} lacks {name}; give it as VQA does")
        if not isinstance(record[name], kind) or isinstance(record[name], bool):
            raise InputError(f"{where} has {name} {shortened(repr(record[name]), 60)}; give it as VQA does")


def _numbered(pictures: Iterable[Path], subtype: str, kind: str) -> Mapping[int, Path]:
    """Pictures by the number at the end of their names; of several those of the questions' part of the data.

    Raises InputError where it stays open which is meant.
    """
    numbered: dict[int, list[Path]] = defaultdict(list)
    for path in pictures:
        if found := NUMBER.search(path.stem):
            numbered[int(found[1])].append(path)
    places: dict[int, Path] = {}
    drawn = kind.startswith(ABSTRACT)
    for number, paths in numbered.items():
        part = [path for path in paths if subtype in path.name and drawn == path.name.startswith(ABSTRACT)]
        chosen = paths if len(paths) == 1 else part
        if len(chosen) > 1:
            raise InputError(
                f"{chosen[0]} and {chosen[1]}: two pictures of number {number}; give the folder of one set"
            )
        if chosen:
            places[number] = chosen[0]
    return places
