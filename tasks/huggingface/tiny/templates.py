"""Chat templates of the tiny chat models: their families' own, shortened to pictures and texts."""

PLAIN_TURNS = (
    "{% for message in messages %}{{ message['role'].upper() }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)  # LLaVA-1.5's, for one turn

INST = (
    "{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %} [/INST]"
    "{% else %} {{ message['content'][0]['text'] }}</s> {% endif %}{% endfor %}"
)  # LLaVA-NeXT's on Mistral: pictures first, and nothing is added for an answer to begin

MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "[SYSTEM_PROMPT]{{ message['content'][0]['text'] }}[/SYSTEM_PROMPT]"
    "{% else %}{% if message['role'] == 'user' %}[INST]{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}[IMG]{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% if message['role'] == 'user' %}[/INST]{% else %}{{ eos_token }}{% endif %}{% endif %}{% endfor %}"
)

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first, turns = messages[0]['content'][0]['text'] + '\n\n', messages[1:] %}"
    "{% else %}{% set first, turns = '', messages %}{% endif %}"
    "{% for message in turns %}"
    "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n{{ first if loop.first }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def turns(picture: str, *, system: str = "", start: str = "<|im_start|>", end: str = "<|im_end|>\n") -> str:
    """ChatML, of Qwen's kind: ``system`` is said where no system turn is given.

    >>> turns("<image>")
    """
    default = "{% if loop.first and message['role'] != 'system' %}" + f"{start}system\n{system}{end}" + "{% endif %}"
    return (
        "{% for message in messages %}" + (default if system else "") + start + "{{ message['role'] }}\n"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
        + picture
        + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
        + end
        + "{% endfor %}{% if add_generation_prompt %}"
        + start
        + "assistant\n{% endif %}"
    )
