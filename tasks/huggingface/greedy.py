"""How a text is generated that is to be explained: the likeliest token at each step, whatever a checkpoint would do.

A checkpoint's ``generation_config`` may sample, weigh tokens by what was said before, or hold the end back. None of it
is in the log-probabilities that are explained, so it is off, and said to be. Lists of tokens that may not be said stay:
they change no other token's log-probability.
"""

from functools import cache
from typing import Any

from vlx.language import shortened

PLAIN: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": None,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "guidance_scale": None,
    "watermarking_config": None,
    "penalty_alpha": None,
    "dola_layers": None,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "constraints": None,
    "force_words_ids": None,
    "prompt_lookup_num_tokens": None,
    "assistant_early_exit": None,
    "use_mtp": False,
    "token_healing": False,
    "stop_strings": None,
    "max_time": None,
}
SAMPLED = ("temperature", "top_k", "top_p", "min_p", "typical_p")  # that count while do_sample is on
SILENT = ("num_return_sequences", "num_beam_groups")  # beside num_beams
FIRST = ("do_sample", "repetition_penalty", "no_repeat_ngram_size", "num_beams")
LISTED = 5  # settings that a note names
LONGEST = 16  # characters of a setting's value


def plainly(longest: int, beams: int = 1) -> dict[str, Any]:
    """Options of ``generate`` for at most ``longest`` tokens by greedy search, or by that many ``beams``.

    >>> model.generate(**inputs, **plainly(60))
    """
    return {name: PLAIN[name] for name in _known()} | {
        "num_beams": beams,
        "max_new_tokens": longest,
        "return_dict_in_generate": True,
        "output_logits": beams == 1,
    }


def switched_off(model: Any, beams: int = 1) -> tuple[str, ...]:
    """A note on what the checkpoint's ``generation_config`` sets and `plainly` does not follow; none where nothing is.

    >>> switched_off(qwen)
    ('its generation_config sets do_sample, repetition_penalty=1.05, temperature=1e-06; off here: words are chosen by
    their likelihood alone',)
    """
    config = getattr(model, "generation_config", None)
    values = {name: getattr(config, name, None) for name in dict.fromkeys((*FIRST, *PLAIN, *SAMPLED))}
    silent = (*SILENT, *(("num_beams",) if beams > 1 else ()), *(() if values["do_sample"] else SAMPLED))
    told = [
        name if value is True else f"{name}={shortened(str(value), LONGEST)}"
        for name, value in values.items()
        if name not in silent and value is not None and (name in SAMPLED or value != PLAIN[name])
    ]
    if not told:
        return ()
    more = f" and {len(told) - LISTED} more" if len(told) > LISTED else ""
    return (
        f"its generation_config sets {', '.join(told[:LISTED])}{more}; off here: words are chosen by their likelihood "
        "alone",
    )


@cache
def _known() -> tuple[str, ...]:
    """Those settings that this version of transformers knows."""
    from transformers import GenerationConfig

    config = GenerationConfig()
    return tuple(name for name in PLAIN if hasattr(config, name))
