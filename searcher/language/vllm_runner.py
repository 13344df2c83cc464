"""Scores with vLLM: the one file that knows it. NOT RUN ON A GPU YET; its tests use a fake of the interface.

Written against the documentation of vLLM 0.33 (November 2026): ``LLM.apply_model``, ``LLM.reset_prefix_cache``,
``SamplingParams(prompt_logprobs=...)``. The engine runs in this process (``VLLM_ENABLE_V1_MULTIPROCESSING=0``, read
when the engine is made), so that the candidate's tensors are handed to the model's own ``load_weights``, which knows how
vLLM fuses and names them; nothing is pickled and nothing goes over a wire. The weight-transfer protocol
(``init_weight_transfer_engine`` and so on) changed at least twice between releases and is needed only across processes.

vLLM does not empty its prefix cache when weights change, so that is done here after every update, and a probe
compares its answer with the live model's own: an engine that kept old weights or old keys and values is found out.

LoRA pools could be served faster with ``LoRARequest`` (several candidates in one batch); that needs factored candidates
and is left for when the engine has them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from searcher.errors import CandidateError, ConfigError
from searcher.language.decoder import max_length_of
from searcher.language.huggingface import HuggingFaceRunner
from searcher.language.plan import Question, questions_of
from searcher.language.requests import Continuation, Prompt, Scored
from searcher.language.runner import RUNNERS, Prepared, Runner
from searcher.merge.live_model import LiveModel

PROBE_TOLERANCE = 0.25
"""Mean difference of the probe's log-probabilities, nats per token: kernels and 16-bit rounding stay well below."""
PROBE_TOKENS = 32


@RUNNERS.register("vllm")
class VllmRunner(Runner):
    """Answers with an engine of vLLM on the live model's GPU.

    The engine takes its architecture from the first candidate's folder and its weights, in place, from every
    candidate. It needs memory for a second copy of the weights and for its keys and values.
    """

    def __init__(self, *, max_tokens: int | None = None) -> None:
        super().__init__(max_tokens=max_tokens)
        self._vllm: Any = None
        self._engine: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._held: tuple[LiveModel, object, int] | None = None  # whose weights the engine has

    @override
    def score(self, model: LiveModel, prepared: Prepared, chosen: NDArray[np.int64] | None = None) -> Scored:
        self._update(model, prepared)
        questions = self._questions(model, prepared)
        asked = np.arange(len(prepared)) if chosen is None else np.asarray(chosen, dtype=np.int64)
        unique = np.unique(asked)
        answers = dict(zip(unique.tolist(), self._answers([questions[n] for n in unique]), strict=True))
        found = [answers[n] for n in asked.tolist()]
        return Scored(
            np.array([values.sum() for values, _ in found], dtype=np.float64),
            np.array([bool((ranks == 1).all()) for _, ranks in found], dtype=np.bool_),
            np.array([len(values) for values, _ in found], dtype=np.int64),
        )

    @override
    def visit(
        self,
        model: LiveModel,
        prepared: Prepared,
        take: Callable[[int, torch.Tensor], None],
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        raise ConfigError(
            "vLLM does not give out whole distributions at a usable speed.",
            where="runner: vllm",
            fix="Set runner: huggingface for this objective.",
        )

    @override
    def generate(self, model: LiveModel, prompts: Sequence[Prompt]) -> list[str]:
        self._update(model, None)
        longest = max_length_of(model.module, model.tokenizer)
        texts = [{"prompt_token_ids": list(p.tokens[-max(1, longest - p.max_new_tokens) :])} for p in prompts]
        settings = [
            self._vllm.SamplingParams(temperature=0.0, max_tokens=p.max_new_tokens, stop=list(p.stop) or None)
            for p in prompts
        ]
        outputs = self._engine.generate(texts, settings, use_tqdm=False)
        return [str(output.outputs[0].text) for output in outputs]

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Log-probability and rank of every target, per question.

        Raises:
            CandidateError: ``NonFiniteLogits``.
        """
        # The text is the inputs and the last target; the one token that must be generated is thrown away.
        texts = [{"prompt_token_ids": [*q.inputs, q.targets[-1]]} for q in questions]
        settings = self._vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        outputs = self._engine.generate(texts, settings, use_tqdm=False)
        for question, output in zip(questions, outputs, strict=True):
            tail = output.prompt_logprobs[-len(question.targets) :]
            entries = [entry[token] for entry, token in zip(tail, question.targets, strict=True)]
            values = np.array([entry.logprob for entry in entries], dtype=np.float64)
            if not np.isfinite(values).all():
                raise CandidateError("NonFiniteLogits", f"Request {question.number}: a log-probability is not finite.")
            yield values, np.array([entry.rank for entry in entries], dtype=np.int64)

    def _update(self, model: LiveModel, prepared: Prepared | None) -> None:
        """Give the engine the candidate's weights, unless it has them."""
        now = (model, model.recipe, model.weights._version)
        if self._held is not None and model.recipe is not None and _same(now, self._held):
            return
        self._held = None
        if self._engine is None:
            self._start(model)
        self._engine.apply_model(lambda module: _load(module, model.module))
        if not self._engine.reset_prefix_cache():
            raise ConfigError(
                "vLLM kept its prefix cache after new weights were loaded.",
                where="runner: vllm, LLM.reset_prefix_cache",
                fix="Use runner: huggingface and report the vLLM version.",
            )
        self._probe(model, prepared)
        self._held = now

    def _start(self, model: LiveModel) -> None:
        """Make the engine; its memory share leaves room for the pool."""
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # weights are handed over within the process
        try:
            vllm = import_module("vllm")
        except ImportError as error:
            raise ConfigError(
                "The runner vllm needs the package vllm, which is not installed.",
                where="runner: vllm",
                fix="Install vllm on a machine with a GPU, or set runner: huggingface.",
            ) from error
        self._vllm, self._folder = vllm, tempfile.TemporaryDirectory(prefix="searcher-vllm-")
        folder = model.path(Path(self._folder.name) / "model")
        limit = {} if self.max_tokens is None else {"max_num_batched_tokens": self.max_tokens}
        dtype = str(model.weights.dtype).removeprefix("torch.")
        self._engine = vllm.LLM(
            model=str(folder), load_format="dummy", dtype=dtype, trust_remote_code=False, seed=0,
            gpu_memory_utilization=0.4, enforce_eager=True, **limit,
        )  # fmt: skip

    def _probe(self, model: LiveModel, prepared: Prepared | None) -> None:
        """Compare one short answer with the live model's own.

        Raises:
            ConfigError: If they differ.
        """
        tokens = prepared.requests[0].tokens if prepared is not None and len(prepared) else (0, 1, 2, 3)
        request = Continuation(tokens[:1], tokens[1 : 1 + PROBE_TOKENS])
        own = HuggingFaceRunner(max_tokens=self.max_tokens)
        expected = own.score(model, own.prepare([request])).log_probability[0]
        values, _ = next(self._answers(questions_of([request], max_length_of(model.module, model.tokenizer))))
        if abs(values.sum() - expected) > PROBE_TOLERANCE * len(values):
            raise ConfigError(
                f"vLLM answers {values.sum():.3f} nats where the model itself answers {expected:.3f}: it does not have the "
                "candidate's weights.",
                where="runner: vllm",
                fix="Use runner: huggingface and report model class and vLLM version.",
            )

    def _questions(self, model: LiveModel, prepared: Prepared) -> list[Question]:
        max_length = max_length_of(model.module, model.tokenizer) - 1  # vLLM wants room for the token it generates
        if ("vllm", max_length) not in prepared.plans:
            prepared.plans["vllm", max_length] = questions_of(prepared.requests, max_length)
        found: list[Question] = prepared.plans["vllm", max_length]
        return found


def _same(now: tuple[LiveModel, object, int], held: tuple[LiveModel, object, int]) -> bool:
    return now[0] is held[0] and now[1] is held[1] and now[2] == held[2]


def _load(target: Any, source: torch.nn.Module) -> None:  # noqa: ANN401 - a model of vLLM
    """Let vLLM's model take parameters under the names transformers gives them; tied ones come once."""
    target.load_weights((name, parameter.detach()) for name, parameter in source.named_parameters())
