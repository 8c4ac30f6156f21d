"""The three parts of a study: how a picture becomes a question of each (Grad-CAM, sections 5.1 and 5.2)."""

from collections.abc import Callable

import numpy as np

from vlx.studies.allotment import condition_for, model_for
from vlx.studies.drafts import Draft, packed_ranks
from vlx.studies.questions import MODELS, SharedPicture, said, sought
from vlx.studies.stimuli import RANKS, bare, drawn, ranks, seen_at, size_of


def which(draft: Draft, shared: SharedPicture) -> None:
    """Of which of two things in the picture is this map? One model's maps of both, by every method."""
    assert shared.pair is not None
    number = draft.counts.get("which", 0)
    model = model_for(number)
    view = shared.views[model]
    cases = [shared.cases(ask)[model] for ask in shared.pair]
    maps = drawn(view, cases, draft.methods)
    names = {
        (method.name, option): draft.show_map(one, model=model, method=method.name, option=option)
        for method in draft.methods
        for option, one in enumerate(maps[method.name])
    }
    shown = []
    for group in range(len(draft.every)):
        condition = condition_for(number, group, draft.every)
        shown.append([names[draft.methods[condition.method].name, condition.side]])
    options = [said(ask) for ask in shared.pair]
    question = {"prompt": "Of which of the two is this?", "options": options, "shown": shown}
    truth = {"picture": shared.example.key, "options": options, "model": model, "rival": shared.rival is not None}
    draft.ask("which", question, truth)


def reasonable(draft: Draft, shared: SharedPicture) -> None:
    """Both models say the right thing: whose map is more reasonable? Both models' maps, by every method."""
    ask = shared.agreed
    assert ask is not None
    number = draft.counts.get("reasonable", 0)
    maps = [drawn(view, [case], draft.methods) for view, case in zip(shared.views, shared.cases(ask), strict=True)]
    draft.compare(*maps)
    names = {
        (method.name, model): draft.show_map(maps[model][method.name][0], model=model, method=method.name)
        for method in draft.methods
        for model in range(len(MODELS))
    }
    shown = []
    for group in range(len(draft.every)):
        condition = condition_for(number, group, draft.every)
        name = draft.methods[condition.method].name
        shown.append([names[name, condition.side], names[name, 1 - condition.side]])
    question = {
        "prompt": f"Both say “{said(ask)}”. Whose reasons are more reasonable?",
        "picture": draft.show(bare(shared.views[0])),
        "shown": shown,
    }
    draft.ask("reasonable", question, {"picture": shared.example.key, "said": said(ask)})


def where(draft: Draft, shared: SharedPicture) -> None:
    """Where would a person look? The picture alone; the key keeps what share of each map a point exceeds."""
    ask = shared.place
    assert ask is not None
    seen = np.logical_and(*(seen_at(view, size_of(view, RANKS)) for view in shared.views))
    maps, models = {}, []
    for letter, view, case in zip(MODELS, shared.views, shared.cases(ask), strict=True):
        made = drawn(view, [case], draft.methods, RANKS)
        models.append(made)
        maps[letter] = {name: packed_ranks(ranks(one[0].values, seen)) for name, one in made.items()}
    draft.compare(*models)
    picture = draft.show(bare(shared.views[0]))
    question = {"prompt": sought(ask), "picture": picture, "shown": [[] for _ in draft.every]}
    draft.ask("where", question, {"picture": shared.example.key, "said": said(ask), "maps": maps})


ASKED: dict[str, Callable[[Draft, SharedPicture], None]] = {"which": which, "reasonable": reasonable, "where": where}
