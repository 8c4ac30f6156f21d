"""Faults of chat adapters, each planted as somebody who writes one would make it; tests say which row must notice."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vlx.tasks.huggingface.chat_crops import _image, _levels
from vlx.tasks.huggingface.prompting import Prompt

Plant = Callable[[Any], None]
Change = Callable[[Any], Any]


def image_token(task: Any) -> int:
    config = task.model.config
    token = getattr(config, "image_token_id", None)
    return int(config.image_token_index if token is None else token)


# The text


def _asked(task: Any, change: Callable[[Prompt], Prompt]) -> None:
    """Questions are put otherwise; what the stock model is asked is not."""
    question = task.prompting.question
    task.prompting.question = lambda query, size: change(question(query, size))


def _kept(prompt: Prompt, places: Any) -> Prompt:
    """Some places of a prompt, in an order of their own."""
    lists = [tuple(one[place] for place in places) for one in (prompt.tokens, *prompt.beside)]
    return Prompt(lists[0], tuple(lists[1:]))


def types_zero(task: Any) -> None:
    """No token is marked as one of the picture: what Qwen2.5-VL takes missing types for, without an error."""
    _asked(task, lambda prompt: Prompt(prompt.tokens, tuple((0,) * len(one) for one in prompt.beside)))


def types_missing(task: Any) -> None:
    """Token types are not handed on."""
    task.prompting.beside = ()
    task.prompting._questions.clear()


def types_unmade(task: Any) -> None:
    """What is asked of the processor leaves token types out, for questions and for whatever else is asked there."""
    made = task.prompting.made
    task.prompting.made = lambda *asked: {name: value for name, value in made(*asked).items() if "type_ids" not in name}
    types_missing(task)


def answer_types(number: int) -> Plant:
    """The tokens of an answer have another type."""

    def plant(task: Any) -> None:
        task.family = replace(task.family, fill=dict.fromkeys(task.prompting.beside, number))

    return plant


def left_out(*names: str) -> Plant:
    """Some special tokens are missing from the prompt."""

    def plant(task: Any) -> None:
        gone = set(task.tokenizer.convert_tokens_to_ids(list(names)))
        _asked(task, lambda prompt: _kept(prompt, [n for n, token in enumerate(prompt.tokens) if token not in gone]))

    return plant


def picture_behind(task: Any) -> None:
    """The picture's tokens stand behind the question."""
    mark = image_token(task)
    _asked(
        task, lambda prompt: _kept(prompt, sorted(range(len(prompt.tokens)), key=lambda n: prompt.tokens[n] == mark))
    )


def without_system(task: Any) -> None:
    """The system's turn is dropped, wherever prompts are made."""
    made, turn = task.prompting.made, task.tokenizer.convert_tokens_to_ids("<|im_start|>")

    def changed(*asked: Any) -> dict[str, Tensor]:
        whole = made(*asked)
        ids = whole["input_ids"]
        first = [n for n, token in enumerate(ids[0].tolist()) if token == turn][1]
        return {name: value[:, first:] if value.shape == ids.shape else value for name, value in whole.items()}

    task.prompting.made = changed


def first_twice(task: Any) -> None:
    """The first token stands there twice."""
    _asked(task, lambda prompt: _kept(prompt, [0, *range(len(prompt.tokens))]))


def last_missing(task: Any) -> None:
    """The turn of the one who answers is not begun."""
    _asked(task, lambda prompt: _kept(prompt, range(len(prompt.tokens) - 2)))


def left_padded(task: Any) -> None:
    """Shorter texts are padded in front."""
    made = task._inputs

    def inputs(A: Tensor, runs: Any) -> dict[str, Any]:
        whole = made(A, runs)
        missing = (whole["input_ids"].shape[1] - whole["attention_mask"].sum(1)).tolist()
        for name in ("input_ids", "attention_mask", *task.prompting.beside):
            whole[name] = torch.stack([row.roll(by) for row, by in zip(whole[name], missing, strict=True)])
        return whole  # type: ignore[no-any-return]

    task._inputs = inputs


def read_late(task: Any) -> None:
    """A word's score is that of the step before."""
    placed = task._placed

    def late(*asked: Any) -> Any:
        run, place = placed(*asked)
        return run, max(place - 1, 0)

    task._placed = late


def end_said(task: Any) -> None:
    """The end is among the tokens of an answer."""
    generated, ends = task._generated, task.model.generation_config.eos_token_id
    end = ends[0] if isinstance(ends, list) else ends

    def ended(*asked: Any) -> Any:
        text, logprobs = generated(*asked)
        return (*text, end), logprobs

    task._generated = ended


def generating_with(**options: Any) -> Plant:
    """Words are chosen in another way than by their likelihood alone; the stock model's are not."""

    def plant(task: Any) -> None:
        generate, generated, inside = task.model.generate, task._generated, list[int]()
        task.model.generate = lambda **given: generate(**given, **{}) if not inside else generate(**(given | options))

        def chosen(*asked: Any) -> Any:
            inside.append(1)
            try:
                return generated(*asked)
            finally:
                inside.pop()

        task._generated = chosen

    return plant


def penalised(task: Any) -> None:
    """What was said before is said less, as a checkpoint's ``repetition_penalty`` has it."""
    task.model.generation_config.repetition_penalty = 30.0
    generating_with(repetition_penalty=30.0)(task)


# Places of tokens


def counted_places(task: Any) -> None:
    """Tokens have the places 0, 1, 2 … instead of rows and columns."""
    inputs = task._inputs

    def counted(A: Tensor, runs: Any) -> dict[str, Any]:
        whole = inputs(A, runs)
        rows, length = whole["input_ids"].shape
        return {**whole, "position_ids": torch.arange(length).expand(3, rows, length).contiguous()}

    task._inputs = counted


def places_of_the_first(task: Any) -> None:
    """How far what follows a picture is moved is kept of the first one that was seen (``rope_deltas``)."""
    from vlx.tasks.huggingface.given_back import explicit_positions

    logits, kept = task._logits, list[int]()

    def moved(A: Tensor, runs: Any, first: int) -> Any:
        kept.append(max(A.shape[-2:]))
        if kept[0] == kept[-1]:
            return logits(A, runs, first)
        inputs = explicit_positions(task.model, task._inputs(A, runs))
        seen = (inputs["input_ids"] == image_token(task)).cumsum(1)
        after = (seen == seen[:, -1:]) & (inputs["input_ids"] != image_token(task))
        inputs["position_ids"] = inputs["position_ids"] + (kept[0] - kept[-1]) * after
        return task.model(**inputs, use_cache=False, logits_to_keep=seen.shape[1] - first).logits

    task._logits = moved


# A


def turned_cells(task: Any) -> None:
    """Height and width of A are swapped, and understood by what comes after it."""
    laid, inputs = task.pictures.laid, task._inputs
    task.pictures.laid = lambda *given: laid(*given).mT
    task._inputs = lambda A, runs: inputs(A.mT, runs)


def _otherwise_shaped(A: Tensor) -> Tensor:
    return A.reshape(*A.shape[:2], A.shape[3], A.shape[2])


def swapped_sides(task: Any) -> None:
    """The tokens, in their own order, are laid on w rows of h."""
    laid, beside = task.pictures.laid, task.pictures.beside
    task.pictures.laid = lambda *given: _otherwise_shaped(laid(*given))
    task.pictures.beside = lambda A: beside(_otherwise_shaped(A))


def swapped_grid(task: Any) -> None:
    """The text is told that the picture has h columns and w rows."""
    beside = task.pictures.beside
    task.pictures.beside = lambda A: {name: value[:, [0, 2, 1]] for name, value in beside(A).items()}


def swapped_sizes(task: Any) -> None:
    """``image_sizes`` are (W, H)."""
    inputs = task.pictures.inputs

    def swapped(pictures: Tensor, names: Any) -> Any:
        for made in inputs(pictures, names):
            yield {name: value.flip(-1) if name == "image_sizes" else value for name, value in made.items()}

    task.pictures.inputs = swapped


def merger_hooked(*, put_back: bool) -> Plant:
    """A is what Qwen2.5-VL's merger gives, in the order of its windows; ``put_back``: before the text reads it."""

    def plant(task: Any) -> None:
        look, inputs = task._looked, task._inputs
        order: dict[int, Tensor] = {}

        def looked(model: Any, pictures: Tensor) -> Any:
            merged: list[Tensor] = []
            hook = model.base_model.visual.merger.register_forward_hook(lambda module, given, out: merged.append(out))
            with hook:
                A, counts = look(model, pictures)
            rows = merged[0].view(len(A), -1, A.shape[1])
            right = A.flatten(2).transpose(1, 2)
            order[rows.shape[1]] = (rows[0][:, None] - right[0][None]).abs().sum(-1).argmin(1)
            return rows.transpose(1, 2).reshape(A.shape), counts

        def given_back(A: Tensor, runs: Any) -> Any:
            back = order[A[0, 0].numel()].argsort()
            return inputs(A.flatten(2)[:, :, back].reshape(A.shape), runs)

        task._looked = looked
        if put_back:
            task._inputs = given_back

    return plant


def deep_streams(where: str) -> Plant:
    """Only the first stream is in A; the deeper ones of DeepStack are in `rest`, "declared", "last" seen or "gone"."""

    def plant(task: Any) -> None:
        features, scores, predict = task.features, task.scores, task.predict
        width, kept = task.model.config.text_config.hidden_size, list[Tensor]()

        def first(inputs: Tensor) -> Any:
            seen = features(inputs)
            kept[:] = [seen.A[:, width:]]
            rest = {"deep": seen.A[:, width:]} if where in ("rest", "declared") else None
            return replace(seen, maps={seen.layer: seen.A[:, :width].clone()}, rest=rest)

        def whole(A: Tensor, rest: Any) -> Tensor:
            deep = rest["deep"] if rest else kept[0][-1:]
            deep = torch.zeros_like(deep) if where == "gone" else deep
            return torch.cat([A, deep.expand(len(A), -1, -1, -1) if len(deep) == 1 else deep], 1)

        def said(seen: Any, queries: Any) -> Any:
            return predict(replace(seen, maps={seen.layer: whole(seen.A, seen.rest)}, rest=None), queries)

        task.features, task.predict = first, said
        task.scores = lambda A, targets, rest=None: scores(whole(A, rest), targets)
        if where == "declared":
            task.besides = {"deep": "the deeper streams"}

    return plant


# Where the picture is


def last_layer(task: Any) -> None:
    """LLaVA's tower is read at its last layer, not at the one before it."""
    look = task._looked

    def looked(model: Any, pictures: Tensor) -> Any:
        config = model.config
        right, config.vision_feature_layer = config.vision_feature_layer, -1
        try:
            return look(model, pictures)
        finally:
            config.vision_feature_layer = right

    task._looked = looked


def cut_inside(task: Any) -> None:
    """What is prepared is the user's picture; the sides are cut off later, and the grid lies on all of it."""
    pictures = task.pictures
    prepare, inputs, laid = pictures.prepare, pictures.inputs, pictures.laid

    def cut(shown: Tensor, names: Any) -> Any:
        for one in shown:
            yield from inputs(prepare(_image(one))[None], names)

    pictures.inputs, pictures.sees = cut, False
    pictures.laid = lambda tokens, size, name: laid(tokens, (48, 48), name)
    task.prepare = _levels


def squeezed(task: Any) -> None:
    """Nothing is cut off: the picture is squeezed into a square."""
    prepare = task.prepare
    task.prepare = lambda image: prepare(image.resize((min(image.size),) * 2))


def blue_for_red(task: Any) -> None:
    """Channels are in another order than the processor's."""
    prepare = task.prepare
    task.prepare = lambda image: prepare(Image.merge("RGB", image.split()[::-1]))


# Several crops


def frames(change: Callable[[list[Any]], list[Any]]) -> Plant:
    """Where the crops lie is told in another order."""

    def plant(task: Any) -> None:
        right = task.pictures._frames
        task.pictures._frames = lambda size: change(list(right(size)))

    return plant


def packed(change: Callable[[Tensor, Tensor], Tensor]) -> Plant:
    """Places [T, 4] of tokens are told otherwise than the model packs them: ``change(cells of crops, places)``."""

    def plant(task: Any) -> None:
        right = task.pictures._packed
        task.pictures._packed = lambda cells, size: change(cells, right(cells, size))

    return plant


def whole_first(crops: list[Any]) -> list[Any]:
    """The whole picture is last, and told to be first."""
    return [crops[-1], *crops[:-1]]


def whole_last(crops: list[Any]) -> list[Any]:
    """The whole picture is first, and told to be last."""
    return [*crops[1:], crops[0]]


def by_tile(cells: Tensor, places: Tensor) -> Tensor:
    """Tile after tile, each row by row, and the newlines behind them all."""
    flat, told = cells.reshape(-1, cells.shape[-1]), torch.full_like(places, torch.nan)
    count = min(len(flat), len(places))
    told[:count] = flat[:count]
    return told


def by_tile_between_newlines(cells: Tensor, places: Tensor) -> Tensor:
    """Tile after tile, each row by row, wherever there is no newline."""
    told, shown = places.clone(), places.isfinite().all(1)
    told[shown] = cells.reshape(-1, cells.shape[-1])[: int(shown.sum())].to(places)
    return told


def newlines_forgotten(cells: Tensor, places: Tensor) -> Tensor:
    """Cells run on where the newlines are."""
    shown, told = places[places.isfinite().all(1)], torch.full_like(places, torch.nan)
    told[: len(shown)] = shown
    return told


def newlines_are_cells(cells: Tensor, places: Tensor) -> Tensor:
    """A newline is told to lie on the cell before it."""
    told = places.clone()
    for number in range(1, len(told)):
        if not told[number].isfinite().all():
            told[number] = told[number - 1]
    return told


def unshrunk(task: Any) -> None:
    """Tiles' tokens are laid as if OneVision did not shrink them when they are many."""
    right, config = task.pictures._packed, task.model.config

    def larger(cells: Tensor, size: Any) -> Tensor:
        count, known = len(right(cells, size)), config.vision_aspect_ratio
        config.vision_aspect_ratio = "anyres_max_999"
        try:
            return right(cells, size)[:count]  # type: ignore[no-any-return]
        finally:
            config.vision_aspect_ratio = known

    task.pictures._packed = larger


def zero_crop(task: Any) -> None:
    """The first crop is hidden by zeros, which the model takes for padding."""
    inputs = task.pictures.inputs

    def hidden(pictures: Tensor, names: Any) -> Any:
        for made in inputs(pictures, names):
            made["pixel_values"] = made["pixel_values"].clone()
            made["pixel_values"][:, 0] = 0
            yield made

    task.pictures.inputs = hidden


def places_of_latents(task: Any) -> None:
    """Tokens are taken for cells row by row, though each of them looks at all of the picture."""
    look = task._looked

    def mixed(model: Any, pictures: Tensor) -> Any:
        A, counts = look(model, pictures)
        count = A[0, 0].numel()
        weights = torch.randn(count, count, generator=torch.Generator().manual_seed(0)).to(A).softmax(1)
        return (A.flatten(2) @ weights.T).reshape(A.shape), counts

    task._looked = mixed


def panning(processor: Any) -> Any:
    """Gemma 3's processor, asked for pan & scan by whoever calls it: crops behind the whole picture."""
    kind: Any = type(processor)
    options = {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 8, "pan_and_scan_max_num_crops": 4}

    class Panning(kind):  # type: ignore[misc]
        def __call__(self, *given: Any, **named: Any) -> Any:
            return super().__call__(*given, **(options | named))

    made = deepcopy(processor)
    made.__class__ = Panning
    return made
