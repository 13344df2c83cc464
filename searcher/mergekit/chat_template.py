"""The chat template of a merge: a text, the name of a well-known format, or the commonest among the models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from searcher.errors import ConfigError
from searcher.mergekit.merge_model import MergeModel
from searcher.pool.files import inside
from searcher.pool.strict_json import read_json_object

MAX_TOKENIZER_CONFIG = 64 << 20
SHORTEST = 20  # characters of a template that says something

NAMED = {
    "chatml": (
        "{%- for message in messages -%}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
    ),
    "llama3": (
        "{{- bos_token }}"
        "{%- for message in messages -%}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
        "{{ message['content'] | trim }}{{ '<|eot_id|>' }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}"
    ),
    "exaone": (
        "{%- if messages[0]['role'] != 'system' -%}{{ '[|system|][|endofturn|]\\n' }}{%- endif -%}"
        "{%- for message in messages -%}"
        "{%- set end = '' if message['role'] == 'user' else '[|endofturn|]' -%}"
        "{{ '[|' + message['role'] + '|]' + message['content'] + end + '\\n' }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '[|assistant|]' }}{%- endif -%}"
    ),
    "mistral": (
        "{{- bos_token }}{%- set before = namespace(text='') -%}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' -%}{%- set before.text = message['content'] + '\\n\\n' -%}"
        "{%- elif message['role'] == 'user' -%}"
        "{{ ' [INST] ' + before.text + message['content'] + ' [/INST]' }}{%- set before.text = '' -%}"
        "{%- else -%}{{ ' ' + message['content'] + eos_token }}{%- endif -%}"
        "{%- endfor -%}"
    ),
    "alpaca": (
        "{%- set titles = {'user': '### Instruction:\\n', 'user_context': '### Input:\\n', 'assistant': '### Response:\\n'} -%}"
        "{%- for message in messages -%}"
        "{%- if not loop.first -%}{{ '\\n\\n' }}{%- endif -%}"
        "{{ titles.get(message['role'], '') + (message['content'] | trim) }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '\\n\\n### Response:\\n' }}{%- endif -%}"
    ),
}


def chat_template(wanted: str, models: Iterable[MergeModel], *, where: str) -> str | None:
    """The template that a configuration asks for; None if it is ``auto`` and no model has one.

    Args:
        wanted: A Jinja text, a name of ``NAMED``, or ``auto``.
        models: The models that are merged.
        where: Place in the configuration, for messages.

    Raises:
        ConfigError: If it is none of these.
    """
    if wanted == "auto":
        found = Counter(template for model in models if (template := model_template(model)) is not None)
        return found.most_common(1)[0][0] if found else None  # of equally common ones the first model's
    if wanted in NAMED:
        return NAMED[wanted]
    if len(wanted) < SHORTEST or "{" not in wanted:
        what = f"{wanted[:60]!r} is neither a chat template nor the name of one."
        fix = f"Give Jinja text, auto, or one of: {', '.join(sorted(NAMED))}."
        raise ConfigError(what, where=where, fix=fix)
    return wanted


def model_template(model: MergeModel) -> str | None:
    """The template in a model's own files, stripped; the default one if there are several."""
    source = model.source
    if "chat_template.jinja" in source.side_files:
        return inside(source.path, "chat_template.jinja").read_text(encoding="utf-8", errors="replace").strip()
    if "tokenizer_config.json" not in source.side_files:
        return None
    content = read_json_object(inside(source.path, "tokenizer_config.json"), limit=MAX_TOKENIZER_CONFIG)
    found = content.get("chat_template")
    if isinstance(found, list):
        by_name = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = by_name.get("default")
    return found.strip() if isinstance(found, str) and found.strip() else None
