"""From a record to the text a model is asked to continue: templates, worked examples, chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter

from searcher.errors import ConfigError
from searcher.language.text_encoder import TextEncoder
from searcher.objectives.text_data import Record, read_jsonl


class Template:
    """Text with fields of a record in braces, such as ``Question: {question}``; double braces stand for one.

    Args:
        text: The template.
        keys: Field of the record for a name in braces, where the two differ.
        where: Names the setting in messages.

    Raises:
        ConfigError: If a brace is open or what is in it is not a name.
    """

    def __init__(self, text: str, *, keys: Mapping[str, str] | None = None, where: str = "template") -> None:
        self._keys, self._where = dict(keys or {}), where
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise self._error(f"{error}.") from error
        for _, name, form, conversion in parts:
            if name is not None and (not name.isidentifier() or form or conversion):
                raise self._error(f"{{{name}}} is not the plain name of a field.")
        self._parts = [(literal, name) for literal, name, _, _ in parts]

    def fill(self, record: Record) -> str:
        """The template with the record's values, which are taken as they are: braces in them mean nothing.

        Raises:
            ConfigError: If the record lacks a field.
        """
        pieces = []
        for literal, name in self._parts:
            pieces.append(literal)
            if name is not None:
                pieces.append(record.text(self._keys.get(name, name), self._where))
        return "".join(pieces)

    def _error(self, what: str) -> ConfigError:
        return ConfigError(
            f"The template cannot be used: {what}",
            where=self._where,
            fix="Write names of fields in braces, such as {question}; {{ and }} stand for braces in the text.",
        )


@dataclass(frozen=True, eq=False)
class PromptFormat:
    """How the model is asked.

    Args:
        prompt: Template of the question.
        answer: Template of its answer.
        chat: Whether the tokenizer's chat template is put around the prompt.
        system: The system message of a chat, or None.
        shots: Worked examples that stand before every question: prompt and answer.
    """

    prompt: Template
    answer: Template
    chat: bool = False
    system: str | None = None
    shots: Sequence[tuple[str, str]] = field(default=())

    def context(self, prompt: str, encoder: TextEncoder) -> str:
        """What stands before the answer.

        Worked examples are parted by a blank line; in a chat each is a message of the user and one of the assistant.

        Args:
            prompt: A filled template.
            encoder: Knows the chat template.
        """
        if not self.chat:
            return "".join(f"{asked}{answered}\n\n" for asked, answered in self.shots) + prompt
        messages = [] if self.system is None else [_message("system", self.system)]
        for asked, answered in self.shots:
            messages += [_message("user", asked), _message("assistant", answered)]
        return encoder.chat([*messages, _message("user", prompt)])


def make_prompt_format(
    prompt: str,
    answer: str,
    *,
    keys: Mapping[str, str] | None = None,
    chat: bool = False,
    system: str | None = None,
    few_shot: Path | None = None,
    n_shots: int | None = None,
    root: Path = Path(),
    where: str = "prompt",
) -> PromptFormat:
    """Check the settings of a prompt and read its worked examples.

    Args:
        prompt: Template of the question.
        answer: Template of its answer.
        keys: See :class:`Template`.
        chat: See :class:`PromptFormat`.
        system: See :class:`PromptFormat`.
        few_shot: JSONL file of worked examples.
        n_shots: How many of them to use, from the first; None for all.
        root: Folder that relative paths resolve against.
        where: Names the objective in messages.

    Raises:
        ConfigError: If a setting cannot be used, or there are fewer worked examples than asked for.
    """
    if system is not None and not chat:
        raise ConfigError("A system message needs a chat.", where=f"{where}, system", fix="Set chat: true.")
    asked = Template(prompt, keys=keys, where=f"{where}, prompt")
    answered = Template(answer, keys=keys, where=f"{where}, answer")
    shots: list[tuple[str, str]] = []
    if few_shot is not None:
        records = read_jsonl(root / few_shot, f"{where}, few_shot")
        shots = [(asked.fill(record), answered.fill(record)) for record in records[:n_shots]]
    wanted = n_shots if n_shots is not None else int(few_shot is not None)
    if (n_shots is not None and n_shots < 1) or len(shots) < wanted:
        raise ConfigError(
            f"Expected {wanted} worked examples, at least 1, but found {len(shots)}.",
            where=f"{where}, {'n_shots' if few_shot is None else root / few_shot}",
            fix="Name a file with enough examples as few_shot, or change n_shots.",
        )
    return PromptFormat(asked, answered, chat, system, tuple(shots))


def _message(role: str, content: str) -> Mapping[str, str]:
    return {"role": role, "content": content}
