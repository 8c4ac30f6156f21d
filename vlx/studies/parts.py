"""The three parts of a study: how a picture becomes a question of each (Grad-CAM, sections 5.1 and 5.2)."""

from collections.abc import Callable

import numpy as np

from vlx.studies.allotment import model_for
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
    options = [said(ask) for ask in shared.pair]
    question = {"prompt": "Of which of the two is this?", "options": options}
    truth = {"picture": shared.example.key, "options": options, "model": model, "rival": shared.rival is not None}
    draft.ask("which", question, truth, [[names[condition]] for condition in draft.conditions])


def reasonable(draft: Draft, shared: SharedPicture) -> None:
    """Both models say the right thing: whose map is more reasonable? Both models' maps, by every method."""
    ask = shared.agreed
    assert ask is not None
    maps = [drawn(view, [case], draft.methods) for view, case in zip(shared.views, shared.cases(ask), strict=True)]
    draft.compare(*maps)
    names = {
        (method.name, model): draft.show_map(maps[model][method.name][0], model=model, method=method.name)
        for method in draft.methods
        for model in range(len(MODELS))
    }
    question = {
        "prompt": f"Both say “{said(ask)}”. Whose reasons are more reasonable?",
        "picture": draft.show(bare(shared.views[0])),
    }
    pairs = [[names[method, side], names[method, 1 - side]] for method, side in draft.conditions]
    draft.ask("reasonable", question, {"picture": shared.example.key, "said": said(ask)}, pairs)


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
    truth = {"picture": shared.example.key, "said": said(ask), "maps": maps}
    draft.ask("where", {"prompt": sought(ask), "picture": picture}, truth, [[] for _ in draft.conditions])


ASKED: dict[str, Callable[[Draft, SharedPicture], None]] = {"which": which, "reasonable": reasonable, "where": where}
