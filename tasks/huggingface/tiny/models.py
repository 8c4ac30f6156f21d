"""How the tiny models are made: configurations, processors and tokenizers out of nothing, then a moment of fitting."""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlx.tasks.huggingface import stock
from vlx.tasks.huggingface.tiny import mosaic, packed, raster, towers
from vlx.tasks.huggingface.tiny.chats import SPREAD, VISION
from vlx.tasks.huggingface.tiny.fitting import COUNT, STEPS, Logits, answering, fit, saying
from vlx.tasks.huggingface.tiny.fitting import questions as table
from vlx.tasks.huggingface.tiny.templates import PLAIN_TURNS
from vlx.tasks.huggingface.tiny.words import byte_pairs, captions, chats, questions, word_pieces

SEED = 5
PATCH = 8
BLIP_MARKS = 2  # rows of BLIP's word table beyond the tokenizer: [DEC], which starts a text, and [ENC]
ANSWERS = ("yes", "no", "red", "green", "blue", "white", "one", "two", "three", "house", "boat", "tree")

TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CONTEXT = 160  # tokens of a picture, a question and an answer
PICTURE = "<image>"

Parts = tuple[Any, ...]  # model, image processor, tokenizer; of chat models the model and their one processor


def build(family: str) -> Parts:
    """The family's tiny model in eval mode, and its image processor and its tokenizer, or its one processor."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        torch.manual_seed(SEED)
        model, *others = (BUILDERS | CHATS | TOWERS)[family]()
    return (model.eval(), *others)


def _blip(model_class: str, size: int) -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    vision: dict[str, Any] = {**VISION, "image_size": size, "patch_size": PATCH, "initializer_range": SPREAD}
    text: dict[str, Any] = {
        **TEXT,
        "vocab_size": len(tokenizer) + BLIP_MARKS,
        "encoder_hidden_size": VISION["hidden_size"],
    }
    text |= {"bos_token_id": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "eos_token_id": 2}
    text |= {"sep_token_id": tokenizer.sep_token_id, "max_position_embeddings": 64, "initializer_range": SPREAD}
    text |= {"projection_dim": 16}
    config = hf.BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)
    processor = hf.BlipImageProcessor(size={"height": size, "width": size})
    return getattr(hf, model_class)(config).eval(), processor, tokenizer


def _blip_captioning() -> Parts:
    model, processor, tokenizer = _blip("BlipForConditionalGeneration", 48)

    def logits(pictures: Tensor, _: Tensor, ids: Tensor) -> Tensor:
        seen = model.vision_model(pictures).last_hidden_state
        scores: Tensor = model.text_decoder(input_ids=ids, encoder_hidden_states=seen, use_cache=False).logits
        return scores

    fit(model, "vision_model", 48, saying(logits, tokenizer, len(tokenizer), captions()))
    return model, processor, tokenizer


def _blip_vqa() -> Parts:
    model, processor, tokenizer = _blip("BlipForQuestionAnswering", 32)

    def logits(pictures: Tensor, asked: Tensor, ids: Tensor) -> Tensor:
        seen = model.vision_model(pictures).last_hidden_state
        mask = (asked != tokenizer.pad_token_id).long()
        heard = model.text_encoder(input_ids=asked, attention_mask=mask, encoder_hidden_states=seen).last_hidden_state
        scores: Tensor = model.text_decoder(
            input_ids=ids, encoder_hidden_states=heard, encoder_attention_mask=mask, use_cache=False
        ).logits
        return scores

    fit(model, "vision_model", 32, saying(logits, tokenizer, len(tokenizer), questions()))
    return model, processor, tokenizer


def _blip_itm() -> Parts:
    model, processor, tokenizer = _blip("BlipForImageTextRetrieval", 40)
    texts = table(tokenizer, [captions()[n][1] for n in torch.randperm(len(captions()))[:COUNT].tolist()])
    mask, matches = (texts != tokenizer.pad_token_id).long(), torch.tensor([1] * COUNT + [0] * COUNT)

    def loss(known: Tensor, _strange: Tensor) -> Tensor:
        seen = torch.cat([known, known.roll(1, 0)])
        outputs = model(pixel_values=seen, input_ids=texts.repeat(2, 1), attention_mask=mask.repeat(2, 1))
        return cross_entropy(outputs.itm_score, matches)

    fit(model, "vision_model", 40, loss, steps=2 * STEPS)
    return model, processor, tokenizer


def _vit_gpt2() -> Parts:
    import transformers as hf

    tokenizer = byte_pairs()
    end = tokenizer.eos_token_id  # start, end and padding are one token, as in the models of the hub
    decoder = hf.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        initializer_range=SPREAD,
        bos_token_id=end,
        eos_token_id=end,
    )
    encoder = hf.ViTConfig(**VISION, image_size=32, patch_size=PATCH, initializer_range=SPREAD)
    model = _encoder_decoder(encoder, decoder, start=end, end=end, padding=end)
    fit(model, "encoder", 32, saying(_forward(model), tokenizer, end, captions()))
    return model, hf.ViTImageProcessor(size={"height": 32, "width": 32}), tokenizer


def _swin_bert() -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    start, end, padding = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    decoder = hf.BertConfig(
        **TEXT, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=padding, initializer_range=SPREAD
    )
    encoder = hf.SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 4], window_size=4,
        initializer_range=SPREAD,
    )  # fmt: skip
    model = _encoder_decoder(encoder, decoder, start=start, end=end, padding=padding)
    fit(model, "encoder", 64, saying(_forward(model), tokenizer, start, captions()))
    return model, hf.ViTImageProcessor(size={"height": 64, "width": 64}), tokenizer


def _encoder_decoder(encoder: Any, decoder: Any, *, start: int, end: int, padding: int) -> Any:
    import transformers as hf

    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = start, end, padding
    model = hf.VisionEncoderDecoderModel(config=config).eval()
    model.generation_config = hf.GenerationConfig(
        decoder_start_token_id=start, bos_token_id=start, eos_token_id=end, pad_token_id=padding
    )
    return model


def _forward(model: Any) -> Logits:
    def logits(pictures: Tensor, _: Tensor, ids: Tensor) -> Tensor:
        scores: Tensor = model(pixel_values=pictures, decoder_input_ids=ids, use_cache=False).logits
        return scores

    return logits


def _git() -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    vision = {**VISION, "image_size": 48, "patch_size": PATCH}
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "initializer_range": SPREAD}
    text |= {"bos_token_id": start, "eos_token_id": end, "pad_token_id": tokenizer.pad_token_id}
    model = hf.GitForCausalLM(hf.GitConfig(vision_config=vision, **text)).eval()

    def logits(pictures: Tensor, _: Tensor, ids: Tensor) -> Tensor:
        scores: Tensor = model(pixel_values=pictures, input_ids=ids, use_cache=False).logits[:, -ids.shape[1] :]
        return scores

    fit(model, "git.image_encoder", 48, saying(logits, tokenizer, start, captions()))
    sizes = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    return model, hf.CLIPImageProcessor(**sizes), tokenizer


def _vilt() -> Parts:
    import transformers as hf

    tokenizer = word_pieces()
    sizes = {"image_size": 32, "patch_size": PATCH, "vocab_size": len(tokenizer), "max_position_embeddings": 40}
    names = {"id2label": dict(enumerate(ANSWERS)), "label2id": {answer: n for n, answer in enumerate(ANSWERS)}}
    config = hf.ViltConfig(**{**VISION, "num_hidden_layers": 4}, **sizes, **names, initializer_range=SPREAD)
    model = hf.ViltForQuestionAnswering(config).eval()
    embeddings = model.vilt.embeddings
    for zeros in (embeddings.position_embeddings, embeddings.cls_token):
        nn.init.normal_(zeros, std=0.5)
    processor = hf.ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=PATCH)
    pairs = [(question, ANSWERS.index(answer)) for question, answer in questions() if answer in ANSWERS]
    pairs = [pairs[n] for n in torch.randperm(len(pairs))[:COUNT].tolist()]
    asked, answers = table(tokenizer, [text for text, _ in pairs]), torch.tensor([answer for _, answer in pairs])
    mask = (asked != tokenizer.pad_token_id).long()

    def loss(known: Tensor, strange: Tensor) -> Tensor:
        scores = [model(input_ids=asked, attention_mask=mask, pixel_values=seen).logits for seen in (known, strange)]
        return cross_entropy(torch.cat(scores), answers.repeat(2))

    fit(model, "vilt.embeddings.patch_embeddings", 32, loss)
    return model, processor, tokenizer


def _llava() -> Parts:
    import transformers as hf

    tokenizer = byte_pairs()
    tokenizer.add_special_tokens({"additional_special_tokens": [PICTURE]})
    tokenizer.model_max_length = CONTEXT
    end, mark = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(PICTURE)
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT, "initializer_range": SPREAD}
    text |= {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, image_size=48, patch_size=PATCH),
        text_config=hf.LlamaConfig(**text),
        image_token_id=mark,
    )
    model = hf.LlavaForConditionalGeneration(config).eval()
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessor(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=PLAIN_TURNS,
    )
    blank = Image.new("RGB", (48, 48))
    asked = [stock.asked(processor, blank, question)["input_ids"][0].tolist() for question, _ in chats()]
    said = [[*tokenizer(f" {answer}")["input_ids"], end] for _, answer in chats()]

    def logits(pictures: Tensor, ids: Tensor) -> Tensor:
        scores: Tensor = model(pixel_values=pictures, input_ids=ids, use_cache=False).logits
        return scores

    fit(model, "model.vision_tower", 48, answering(logits, asked, said))
    return model, processor


BUILDERS: dict[str, Callable[[], Parts]] = {
    "blip-captioning": _blip_captioning,
    "blip-vqa": _blip_vqa,
    "blip-itm": _blip_itm,
    "vit-gpt2": _vit_gpt2,
    "swin-bert": _swin_bert,
    "git": _git,
    "vilt": _vilt,
    "llava": _llava,
}
CHATS: dict[str, Callable[[], Parts]] = {**raster.BUILDERS, **packed.BUILDERS, **mosaic.BUILDERS}
TOWERS: dict[str, Callable[[], Parts]] = towers.BUILDERS
