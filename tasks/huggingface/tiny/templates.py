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

IDEFICS = (
    "{% for message in messages %}{{ message['role'] | capitalize }}"
    "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)  # behind the start of a text

COHERE = (
    "{{ bos_token }}{% for message in messages %}<|START_OF_TURN_TOKEN|>"
    "{% if message['role'] == 'assistant' %}<|CHATBOT_TOKEN|><|START_RESPONSE|>"
    "{% else %}<|{{ message['role'] | upper }}_TOKEN|>{% endif %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}<|END_RESPONSE|>{% endif %}<|END_OF_TURN_TOKEN|>{% endfor %}"
    "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>{% endif %}"
)  # IMAGE: the picture's mark

DEEPSEEK = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language.\n\n"
    "{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image_placeholder>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "{% if not loop.last or add_generation_prompt %}"
    "{% if message['role'] == 'user' %}\n\n{% else %}{{ eos_token }}{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)

GLM = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message['role'] }}|>\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


PICTURES_FIRST = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}\n{{ part['text'] }}{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)  # LLaVA-OneVision's; a given answer stands behind "assistant \n"

TURNS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)  # ChatML, of Qwen's kind
USUAL = (
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
)


def turns(picture: str, *, system: bool = False, thought: str = "") -> str:
    """ChatML with ``picture`` for a picture.

    ``system``: a usual system turn stands where none is given. ``thought``: what stands before every answer.

    >>> turns("<image>")
    """
    start, said = "{% for message in messages %}", "{% for part in message['content'] %}"
    written = TURNS.replace("PICTURE", picture).replace(start, f"{start}{USUAL}{{% endif %}}" if system else start)
    if not thought:
        return written
    written = written.replace(said, f"{{% if message['role'] == 'assistant' %}}{thought}{{% endif %}}{said}")
    return written.replace("assistant\n{% endif %}", f"assistant\n{thought}{{% endif %}}")
