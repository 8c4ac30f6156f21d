"""Models of Hugging Face transformers as tasks: `load` by name or folder, `wrap` what is in memory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import torch
from torch import nn

from vlx.errors import InputError, ModelError
from vlx.language import shortened
from vlx.protocol.task import Task
from vlx.tasks.classification.huggingface import adapter as classifier
from vlx.tasks.classification.huggingface import classifies
from vlx.tasks.huggingface import hub
from vlx.tasks.huggingface.chat_families import CHAT
from vlx.tasks.huggingface.families import OLDEST, WHOLE, Family, find, unfilled
from vlx.tasks.huggingface.files import check_config, check_files, check_size, revision_of
from vlx.tasks.huggingface.limits import limited
from vlx.tasks.huggingface.matching import check_marks, check_parts
from vlx.tasks.huggingface.prompt_by_hand import prompted
from vlx.tasks.huggingface.refusals import explained, quiet
from vlx.tasks.huggingface.weights import ChatOptions, Weights
from vlx.tasks.huggingface.wrappers import unwrapped

BESIDE = {
    "AutoImageProcessor": "its image processor",
    "AutoTokenizer": "its tokenizer",
    "AutoProcessor": "its processor",
}
OF_CONFIG = ("revision", "task", "trust_remote_code")  # options that its configuration is read by
UNUSED = ("encoder.pooler.",)  # weights that a model has, many files lack and nothing reads
NO_CONVERSION = "DISABLE_SAFETENSORS_CONVERSION"


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
    safetensors_only: bool = True,
    task: str | None = None,
    outputs: str | None = None,
    **chat: Unpack[ChatOptions],
) -> Task:
    """Open a model of transformers with its image processor and tokenizer as a task, in eval mode.

    ``name``: a repository of the hub ("Salesforce/blip-image-captioning-base", downloaded once) or a folder.
    ``revision``: branch, tag or commit; all files are taken from that commit. ``device``: by default the CPU.
    ``dtype``: a name in `vlx.tasks.shared.devices.DTYPES` or a torch.dtype; by default float32, of chat models the
    file's own.
    ``trust_remote_code``: run Python code from the repository. ``safetensors_only``: False also opens weights that are
    only there as a pickle, by torch.load with weights_only=True. ``task``: "captioning" or "vqa", where config.json
    leaves that open. ``outputs``: of a classifier, what its output means.

    ``chat``: of chat models ``device_map``, ``quantization_config`` and ``attn_implementation`` as transformers has
    them (see `vlx.tasks.huggingface.weights.Weights`); ``max_pixels``: how much of a picture the processor lets
    through, by default what makes 1,280 tokens; ``prompt``: how a question is put where there is no chat template.

        >>> load("Salesforce/blip-image-captioning-base", device="cuda", dtype="bfloat16")
        >>> load("Qwen/Qwen2.5-VL-7B-Instruct", device_map="auto", quantization_config="4bit", max_pixels=500_000)

    Raises InputError for a device, dtype, task or number of pixels that there is not, and ModelError for a model that
    is unknown, cannot be reached, lacks files, has no adapter, or does not fit its processor.
    """
    check_transformers()
    weights, max_pixels, prompt = Weights.of(device, dtype, chat), chat.get("max_pixels"), chat.get("prompt")
    looked = _looked_at(name, revision, trust_remote_code)
    text, folder, local, source, options, config = looked
    with quiet():
        family = find(config, config.architectures or [], text, task)
        check_version(family.row.since, f"{text}, a {family.architecture},")
        _check_options(family, text, outputs=outputs, max_pixels=max_pixels, prompt=prompt)
        as_told = weights.options(chat=family.row.chat, quantised=hasattr(config, "quantization_config"))
        if not local:
            options["revision"] = revision = hub.commit(source, revision)
        _check_folder(looked, family, safetensors_only, revision)
        beside = [_read(reader, source, BESIDE[reader], options) for reader in family.row.beside]
        if family.kind != "classification":
            check_parts(config, *_two(beside if len(beside) > 1 else beside[0]), text)
        meant: dict[str, Any] = {} if outputs is None else {"outputs": outputs}
        if family.row.chat:
            beside, limit = [_asked(config, beside[0], prompt, text)], limited(beside[0], config, max_pixels, text)
            meant |= {} if limit is None else {"limit": limit}
        options |= {"config": config, "use_safetensors": safetensors_only or None, **as_told}
        model = weights.placed(_model(family, source, options).eval())
    title = text if local else f"hf:{text}"
    version = revision_of(folder) if local else revision
    return family.adapter(model, *beside, name=title, revision=version, **meant)


def _check_options(family: Family, name: str, **options: Any) -> None:
    """Raises InputError for what only classifiers, or only chat models, can be told."""
    given = [option for option, value in options.items() if value is not None]
    for option in given:
        kind = "classifiers" if option == "outputs" else "chat models"
        if family.kind != "classification" if option == "outputs" else not family.row.chat:
            raise InputError(f"{option}={options[option]!r:.60} is for {kind}; {name} is a {family.architecture}")


def _check_folder(looked: "_Looked", family: Family, safetensors_only: bool, revision: str | None) -> None:
    """Raises ModelError for a folder, or a repository of which there is only the cache, that lacks a file."""
    whole = looked.folder if looked.local else hub.offline(looked.source, revision)
    if whole is not None:
        check_files(whole, safetensors_only=safetensors_only, text=family.kind != "classification")
    if looked.local and (empty := unfilled(looked.config, family.architecture)) is not None:
        check_size(looked.folder, sum(weight.numel() for weight in empty.parameters()))


def _asked(config: Any, processor: Any, prompt: str | None, name: str) -> Any:
    """A chat model's processor, with a ``prompt`` by hand where one is given.

    Raises as `check_marks`, and InputError for a prompt where the family has a way of its own.
    """
    check_marks(config, processor, name)
    if prompt is None:
        return processor
    family = CHAT.get(config.model_type)
    if family is not None and (family.form or family.prefix):
        raise InputError(
            f"prompt={prompt!r:.60} is for models that are asked by a chat template; {shortened(name, 60)} is asked by "
            f"{family.form or 'a question'!r}: give the text as question="
        )
    return prompted(processor, prompt, name)


def kinds_of(
    name: str | Path, *, revision: str | None = None, trust_remote_code: bool = False, task: str | None = None
) -> tuple[str, ...]:
    """What a model does, "captioning", "vqa" or "classification", by its config.json alone; a chat model does several.

    Raises ModelError as `load` does.
    """
    check_transformers()
    model = _looked_at(name, revision, trust_remote_code)
    with quiet():
        return find(model.config, model.config.architectures or [], model.text, task).row.kinds


class _Looked(NamedTuple):
    """Where a model is, how its parts are read, and what its config.json says."""

    text: str
    folder: Path
    local: bool
    source: str
    options: dict[str, Any]
    config: Any


def _looked_at(name: str | Path, revision: str | None, trust_remote_code: bool) -> _Looked:
    text, folder = str(name), Path(name).expanduser()
    local = _is_folder(folder, text, revision)
    source = str(folder) if local else text
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    with quiet():
        options |= {} if local else hub.reach(source, revision)
        config = _read("AutoConfig", source, "its config.json", options)
    return _Looked(text, folder, local, source, options, config)


def wrap(
    model: nn.Module,
    processor: Any,
    *,
    name: str | None = None,
    task: str | None = None,
    revision: str | None = None,
    prompt: str | None = None,
) -> Task:
    """A model of transformers that is in memory as a task; the model itself is not changed.

    ``processor``: what AutoProcessor gives, or the pair (image processor, tokenizer); the image processor alone for an
    image classifier. ``name``: by default what the model was loaded from. ``task`` and ``prompt`` as for `load`.
    torch.compile, DataParallel and PEFT's LoRA are taken off, which changes no answer.

    Raises InputError for a processor without one of its two parts, and ModelError for a model that is not of
    transformers, has no adapter, or does not fit the processor.
    """
    check_transformers()
    model = unwrapped(model)
    config = getattr(model, "config", None)
    if not isinstance(model, nn.Module) or not isinstance(getattr(config, "model_type", None), str):
        raise ModelError(
            f"wrap() takes a model of transformers, got {type(model).__name__}; wrap a module of your own in "
            "vlx.tasks.captioning.CnnLstmCaptioner, vlx.tasks.vqa.CnnLstmVqa or vlx.tasks.classification.Classifier"
        )
    called = name or getattr(config, "_name_or_path", "") or type(model).__name__
    if classifies(model):
        return classifier(model, getattr(processor, "image_processor", processor), name=called, revision=revision)
    images, tokenizer = _two(processor)
    family = find(
        config, [made.__name__ for made in type(model).__mro__ if made.__module__ != "builtins"], called, task
    )
    check_version(family.row.since, f"{called}, a {family.architecture},")
    check_parts(config, images, tokenizer, called)
    _check_options(family, called, prompt=prompt)
    if family.row.beside != WHOLE:
        return family.adapter(model, images, tokenizer, name=called, revision=revision)
    if isinstance(processor, Sequence):
        raise InputError(
            f"{called} is asked by its chat template, which is the whole processor's: give "
            "AutoProcessor.from_pretrained(…) and not its parts"
        )
    return family.adapter(model, _asked(config, processor, prompt, called), name=called, revision=revision)


def check_transformers() -> None:
    """Raises ModelError when transformers is missing or too old."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise ModelError(
            'models of Hugging Face need transformers, which is not installed: pip install "vlx[hf]"'
        ) from None
    check_version(OLDEST, "vlx")


def check_version(since: tuple[int, int], what: str) -> None:
    """Raises ModelError when transformers is older than ``what`` needs."""
    from transformers import __version__ as version

    major, minor, *_ = version.split(".")
    if (int(major), int(minor)) < since:
        needed = ".".join(map(str, since)).removesuffix(".0")
        raise ModelError(f'{what} needs transformers {needed} or newer, found {version}: pip install -U "vlx[hf]"')


def _is_folder(folder: Path, text: str, revision: str | None) -> bool:
    """Whether a folder of transformers is meant, or a name of the hub. Raises for what is neither."""
    if not folder.is_dir():
        if text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1:
            raise ModelError(f"there is no folder {text!r}; give a model's folder, or a name of the hub (OWNER/NAME)")
        return False
    check_config(folder)
    if revision is not None:
        raise InputError(f"revision={revision!r} is for models of the hub; {text} is a folder, which has but one")
    return True


def _read(reader: str, source: str, what: str, options: dict[str, Any]) -> Any:
    import transformers

    with explained(source, options["revision"], what):
        return getattr(transformers, reader).from_pretrained(source, **options)


def _model(family: Family, source: str, options: dict[str, Any]) -> nn.Module:
    """The model on the CPU. Raises ModelError where the files do not hold all of its weights."""
    import transformers

    model_class: Any = getattr(transformers, family.architecture)
    with _no_conversion(), explained(source, options["revision"], "its weights"), _apart():
        model, info = model_class.from_pretrained(source, output_loading_info=True, **options)
    lost = sorted(key for key in info["missing_keys"] if not key.startswith(UNUSED))
    if lost:
        raise ModelError(
            f"{source}: its files lack {len(lost)} weights of {family.architecture} ({', '.join(lost[:3])}…), which "
            "would be random; this is another model, or one that has not been trained for this task"
        )
    loaded: nn.Module = model
    return loaded


@contextmanager
def _apart() -> Iterator[None]:
    """Without the caller's random state, and with weights that can be differentiated whatever the caller is in."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        yield


@contextmanager
def _no_conversion() -> Iterator[None]:
    """Keep transformers from asking the hub, in a thread, to convert a repository's pickles."""
    before = os.environ.get(NO_CONVERSION)
    os.environ[NO_CONVERSION] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_CONVERSION]
        else:
            os.environ[NO_CONVERSION] = before


def _two(processor: Any) -> tuple[Any, Any]:
    """(image processor, tokenizer) of a pair or of a combined processor."""
    if isinstance(processor, Sequence) and not isinstance(processor, str) and len(processor) == 2:
        images, tokenizer = processor
    else:
        images, tokenizer = getattr(processor, "image_processor", None), getattr(processor, "tokenizer", None)
    if not callable(images) or not hasattr(tokenizer, "get_vocab") or hasattr(images, "get_vocab"):
        raise InputError(
            f"wrap() takes a processor with an image processor and a tokenizer, or the pair of them in that order; "
            f"got {type(processor).__name__}"
        )
    return images, tokenizer
