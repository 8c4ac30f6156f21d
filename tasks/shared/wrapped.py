"""Networks in other people's wrappers: taken out where they compute the same alone, else refused with the way out."""

from typing import Any

import torch
from torch import Tensor, nn

from vlx.errors import ModelError, VlxError

SHARDED = ("FullyShardedDataParallel", "FSDP", "DeepSpeed", "DTensor")
HOLDERS = ("module", "_orig_mod")  # where wrappers keep what they wrap
LONGEST = 90  # characters of torch's own message


def plain(model: Any) -> Any:
    """The network itself: of torch.compile, DataParallel and DistributedDataParallel what they wrap, else as it is.

    Raises ModelError where weights are not there: spread over processes (FSDP, DeepSpeed), or on the meta device.
    """
    while True:
        inner = _wrapped(model)
        if inner is None:
            break
        model = inner
    if isinstance(model, nn.Module):
        _refuse_absent(model)
    return model


def own_name(model: nn.Module, wrapped: Any, layer: Any) -> Any:
    """A layer's name in the network, where it was given with the prefix of the wrapper that was taken off."""
    if model is wrapped or not isinstance(layer, str):
        return layer
    names = dict(model.named_modules(remove_duplicate=False))
    while layer not in names and layer.partition(".")[0] in HOLDERS:
        layer = layer.partition(".")[2]
    return layer


def refuse_script(module: nn.Module, name: str) -> None:
    """Raises ModelError for TorchScript, which lets nobody put another feature map in."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"{name} is TorchScript, into which no feature map can be put; give the nn.Module that it was made from "
            "(torch.jit.script and torch.jit.trace leave it as it was)"
        )


def unquantised(made: Any, name: str) -> None:
    """Raises ModelError for a tensor of a statically quantised network."""
    if isinstance(made, Tensor) and made.is_quantized:
        raise ModelError(
            f"{name} gives {str(made.dtype).removeprefix('torch.')} numbers of a quantised network, which have no "
            "gradient and cannot be replaced; load the float network it was made from"
        )


def short(error: Exception) -> str:
    """What was raised, in some words."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST]}{'…' * (len(text) > LONGEST)}"


def devices(module: nn.Module) -> list[str]:
    """The devices on which a network's parts are."""
    return sorted({str(tensor.device) for tensor in (*module.parameters(), *module.buffers())})


def passes(error: Exception) -> bool:
    """Whether an error of a network's run is to be left as it is."""
    return isinstance(error, VlxError | torch.cuda.OutOfMemoryError)


def _wrapped(model: Any) -> Any:
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return model.module
    return model._orig_mod if type(model).__name__ == "OptimizedModule" else None


def _refuse_absent(model: nn.Module) -> None:
    name = type(model).__name__
    for part, module in model.named_modules():
        kinds = {type(module).__name__, *(type(weights.data).__name__ for weights in module.parameters(recurse=False))}
        sharded = next((kind for kind in kinds if kind.startswith(SHARDED)), None)
        if sharded or any(hasattr(weights, "ds_id") for weights in module.parameters(recurse=False)):
            raise ModelError(
                f"{name} has its weights spread over processes ({sharded or 'DeepSpeed'}); gather them into the plain "
                "model first: get_model_state_dict with full_state_dict=True, then load_state_dict"
            )
        tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if any(tensor.device.type == "meta" for tensor in tensors):
            where = f"its part {part!r}" if part else "it"
            raise ModelError(
                f"{name}: {where} is on the meta device, without weights; load it plain, without device_map, "
                "low_cpu_mem_usage or offloading, or put the weights in with load_state_dict(…, assign=True)"
            )
