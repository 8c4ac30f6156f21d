"""A model of transformers borrowed: modules and configs of one's own around the very weights of somebody else's."""

import copy
from collections.abc import Mapping
from functools import cache, partial
from types import MethodType
from typing import Any

from torch import nn

SHARED = ("_parameters", "_buffers")  # the dictionaries themselves: what hooks of accelerate load there is seen by both


def borrowed(model: nn.Module) -> nn.Module:
    """The same model in other modules. Weights, buffers and hooks are the model's; configs and attributes are not.

    So its kind of attention can be changed, and what a forward leaves on its modules (``rope_deltas`` of Qwen's) stays
    with the borrower: nobody who shares the model sees it. Modules that were compiled run as they were written.

        >>> mine = borrowed(model)
        >>> mine.config._attn_implementation = "sdpa"  # model.config is as before
    """
    modules = list(model.modules())
    others = {id(module): type(module).__new__(type(module)) for module in modules}
    configs: dict[int, Any] = {}
    for module in modules:
        for name, value in vars(module).items():
            there = value if name in SHARED else _counterpart(value, others, configs)
            others[id(module)].__dict__[name] = there
        others[id(module)].__dict__["_compiled_call_impl"] = None
    return others[id(model)]


def configs_of(model: nn.Module) -> list[Any]:
    """The configs that a model's modules hold, each once."""
    held = (value for module in model.modules() for value in vars(module).values() if _is_config(value))
    return list({id(config): config for config in held}.values())


def _counterpart(value: Any, others: Mapping[int, nn.Module], configs: dict[int, Any]) -> Any:
    """What stands for a module's attribute: for modules and methods the borrowed ones, for configs a copy."""
    if isinstance(value, nn.Module):
        return others.get(id(value), value)
    if _is_config(value):
        return copy.deepcopy(value, configs)
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _counterpart(value.__self__, others, {})) if _holds(value) else value
    if isinstance(value, partial):  # ``forward`` of a module with a hook of accelerate
        function, *given = (_counterpart(one, others, configs) for one in (value.func, *value.args))
        there = partial(function, *given, **value.keywords)
        there.__dict__.update(vars(value))
        return there
    if type(value) in (list, tuple):
        return type(value)(_counterpart(one, others, configs) for one in value)
    if type(value) is dict:
        return {name: _counterpart(one, others, configs) for name, one in value.items()}
    return value


def _holds(method: MethodType) -> bool:
    return isinstance(method.__self__, nn.Module)


def _is_config(value: Any) -> bool:
    return isinstance(value, _config_class())


@cache
def _config_class() -> type[Any]:
    from transformers import PretrainedConfig

    config: type[Any] = PretrainedConfig
    return config
