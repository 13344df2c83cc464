"""Synthetic multiple-choice tasks and a tokenizer for them: words without meaning, lengths as in real tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

SYLLABLES = ("ba", "den", "fi", "gor", "hul", "kem", "lo", "mar", "nis", "pol", "ra", "sut", "tev", "vin", "wo", "zer")

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{train: {train}, test: {test}}}, cache_dir: {cache}}}
training_split: train
test_split: test
fewshot_split: train
fewshot_config: {{sampler: {sampler}}}
output_type: multiple_choice
doc_to_text: "{text}Answer:"
doc_to_choice: {choices}
doc_to_target: gold
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
QUESTION = "Question: {{question}}\\n"
LETTERS = "".join(f"{letter}. {{{{choices[{k}]}}}}\\n" for k, letter in enumerate("ABCD"))


def write_task(folder: Path, name: str, n: int, *, question: int, option: int, letters: bool, shared: bool) -> Path:
    """Write a task and its data.

    Args:
        folder: Where to.
        name: Of the task.
        n: Documents.
        question: Words of a question, on average.
        option: Words of an option, on average.
        letters: Whether the options stand in the question and the answer is a letter (as MMLU) or the answer is the
            option's text (as ARC).
        shared: Whether all documents have the same solved examples before them, or each its own.

    Returns:
        The task's YAML file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    data = {}
    for part, size in (("train", 40), ("test", n)):
        data[part] = folder / f"{name}_{part}.jsonl"
        documents = [_document(generator, question, option) for _ in range(size)]
        data[part].write_text("".join(json.dumps(d) + "\n" for d in documents), encoding="utf-8")
    path = folder / f"{name}.yaml"
    path.write_text(
        TASK.format(
            name=name, cache=folder / "cache", sampler="first_n" if shared else "default",
            text=QUESTION + LETTERS if letters else QUESTION,
            choices='["A", "B", "C", "D"]' if letters else "choices", **data,
        ),
        encoding="utf-8",
    )  # fmt: skip
    return path


def save_tokenizer(folder: Path, vocabulary: int) -> None:
    """A byte-level BPE for the words of the tasks, a token or two per word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, 2000),
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    generator = np.random.default_rng(1)
    bpe.train_from_iterator([_words(generator, 5000), "Question: Answer: A. B. C. D.\n" * 50], trainer)
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=end, eos_token=end, pad_token=end).save_pretrained(folder)


def _document(generator: np.random.Generator, question: int, option: int) -> dict[str, Any]:
    choices = [_words(generator, int(generator.integers(1, 2 * option))) for _ in range(4)]
    text = _words(generator, int(generator.integers(question // 2, 3 * question // 2 + 1))) + "?"
    return {"question": text, "choices": choices, "gold": int(generator.integers(4))}


def _words(generator: np.random.Generator, n: int) -> str:
    return " ".join("".join(generator.choice(SYLLABLES, generator.integers(1, 4))) for _ in range(n))
