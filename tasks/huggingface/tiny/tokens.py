"""Tokenizers of the tiny chat models: byte pairs and sentence pieces of the real classes, trained in a moment."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from vlx.tasks.huggingface.tiny.words import END, LETTERS, PLAIN, SIGNS, captions

CONTEXT = 512  # tokens of a picture, a question and an answer
SPACE = "▁"
THOUGHT = ("<think>", "</think>", "<answer>", "</answer>")  # written with every text, so no special tokens
BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
Names = Mapping[str, str]  # a tokenizer's own marks: "image_token" → "<image>"


def qwen_tokens(marks: Sequence[str], names: Names | None = None) -> Any:
    """A ``Qwen2Tokenizer``: byte pairs, no start token, and ``marks`` beside."""
    import transformers as hf

    vocab, merges = _byte_pairs()
    return _marked(hf.Qwen2Tokenizer(vocab=vocab, merges=merges, **_extra(names)), marks)


def llama_tokens(marks: Sequence[str], names: Names | None = None, **options: Any) -> Any:
    """A ``LlamaTokenizer``: sentence pieces with ``▁`` before a word, ``<s>`` before every text."""
    import transformers as hf

    vocab, merges = _pieces(("<unk>", "<s>", "</s>"))
    options = {"pad_token": "<unk>", **options, **_extra(names)}
    return _marked(hf.LlamaTokenizer(vocab=vocab, merges=merges, **options), marks)


def gemma_tokens(marks: Sequence[str], names: Names | None = None) -> Any:
    """A ``GemmaTokenizer``: sentence pieces, no ``▁`` before the first word."""
    import transformers as hf

    vocab, merges = _pieces(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"))
    return _marked(hf.GemmaTokenizer(vocab=vocab, merges=merges, **_extra(names)), marks)


def cohere_tokens(marks: Sequence[str], names: Names | None = None) -> Any:
    """A ``CohereTokenizer``: byte pairs, ``<BOS_TOKEN>`` before every text."""
    import transformers as hf

    vocab, merges = _byte_pairs()
    first = ("<PAD>", "<UNK>", "<CLS>", "<SEP>", "<MASK_TOKEN>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>")
    numbered = {piece: number for number, piece in enumerate((*first, *vocab))}
    return _marked(hf.CohereTokenizer(vocab=numbered, merges=merges, **_extra(names)), marks)


def byte_tokens(marks: Sequence[str], names: Names | None = None, **options: Any) -> Any:
    """A tokenizer of no class of its own, as those that were trained as byte pairs and saved as one file.

    ``options``: which of ``marks`` are ``bos_token``, ``eos_token`` and ``pad_token``.
    """
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab, merges = _byte_pairs()
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return _marked(hf.PreTrainedTokenizerFast(tokenizer_object=made, **options, **_extra(names)), marks)


def _extra(names: Names | None) -> dict[str, Any]:
    return {"model_max_length": CONTEXT} | ({"extra_special_tokens": dict(names)} if names else {})


def _marked(tokenizer: Any, marks: Sequence[str]) -> Any:
    tokenizer.add_tokens([mark for mark in marks if mark not in THOUGHT], special_tokens=True)
    tokenizer.add_tokens([mark for mark in marks if mark in THOUGHT])
    return tokenizer


@cache
def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    return _learned(trained, trainer)


@cache
def _pieces(first: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    letters = [*LETTERS, *LETTERS[:26].upper(), *SIGNS, *"[]<>|_#", SPACE, "\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*first, *BYTES], initial_alphabet=letters, show_progress=False
    )
    return _learned(trained, trainer)


def _learned(trained: Any, trainer: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    trained.train_from_iterator([text for _, text in captions() if "ish" not in text] + [" ".join(PLAIN)], trainer)
    model = json.loads(trained.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
