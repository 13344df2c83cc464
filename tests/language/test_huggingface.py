from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.errors import CandidateError, ConfigError
from searcher.language import huggingface
from searcher.language.decoder import Decoder
from searcher.language.requests import Continuation
from searcher.language.runner import make_runner
from searcher.merge.live_model import LiveModel
from tests.language.reference import assert_same, multiple_choice, one_by_one
from tests.language.tiny_llama import VOCABULARY, engine_of, live_llama, recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("live"))


TOKENS = st.integers(0, 3)


@st.composite
def request_sets(draw: st.DrawFn) -> list[Continuation]:
    """Few tokens, so that prefixes, duplicates and beginnings of each other are common; some longer than a row."""
    stems = draw(st.lists(st.lists(TOKENS, min_size=1, max_size=6).map(tuple), min_size=1, max_size=3))
    found = []
    for _ in range(draw(st.integers(1, 12))):
        context = draw(st.sampled_from(stems)) * draw(st.sampled_from([1, 1, 1, 2, 12]))
        context += tuple(draw(st.lists(TOKENS, max_size=4)))
        found.append(Continuation(context, tuple(draw(st.lists(TOKENS, min_size=1, max_size=5)))))
    return found


class TestScore:
    @given(requests=request_sets(), max_tokens=st.sampled_from([None, 8, 40]))
    @settings(max_examples=40)
    def test_equals_one_request_at_a_time(
        self, model: LiveModel, requests: list[Continuation], max_tokens: int | None
    ) -> None:
        runner = make_runner(max_tokens=max_tokens)
        assert_same(runner.score(model, runner.prepare(requests)), one_by_one(model, requests))

    def test_multiple_choice_is_packed(self, model: LiveModel, counted: list[int]) -> None:
        requests = multiple_choice(30)
        runner = make_runner()
        prepared = runner.prepare(requests)
        runner.score(model, prepared)
        counted.clear()
        found = runner.score(model, prepared)
        n_through = sum(counted)
        assert_same(found, one_by_one(model, requests))
        assert n_through < 0.2 * sum(len(request.tokens) for request in requests)

    def test_most_likely_continuation_is_greedy(self, model: LiveModel) -> None:
        with torch.no_grad():
            best = int(model.module(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1].argmax())
        runner = make_runner()
        found = runner.score(model, runner.prepare([Continuation((5, 6, 7), (t,)) for t in (best, (best + 1) % 9)]))
        assert found.greedy.tolist() == [True, False]

    def test_chosen_in_any_order(self, model: LiveModel) -> None:
        requests = multiple_choice(5)
        runner, rng = make_runner(), np.random.default_rng(1)
        prepared, expected = runner.prepare(requests), one_by_one(model, requests)
        for chosen in (rng.permutation(20), rng.integers(0, 20, 7), np.array([19]), np.array([3, 3, 0])):
            found = runner.score(model, prepared, chosen)
            np.testing.assert_allclose(found.log_probability, expected.log_probability[chosen], atol=1e-4)
            assert found.n_tokens.tolist() == expected.n_tokens[chosen].tolist()

    def test_none_at_all(self, model: LiveModel) -> None:
        runner = make_runner()
        assert runner.score(model, runner.prepare([])).log_probability.shape == (0,)
        nothing = np.array([], dtype=np.int64)
        assert runner.score(model, runner.prepare(multiple_choice(1)), nothing).greedy.shape == (0,)

    def test_numbers_out_of_range(self, model: LiveModel) -> None:
        runner = make_runner()
        with pytest.raises(ValueError, match="from 0 to 3"):
            runner.score(model, runner.prepare(multiple_choice(1)), np.array([4]))

    def test_too_long_requests_lose_their_left_end(self, model: LiveModel) -> None:
        rng = np.random.default_rng(0)
        long = tuple(rng.integers(0, VOCABULARY, 400).tolist())
        requests = [Continuation(long, (5, 6)), Continuation(long[:255], (7,)), Continuation(long[:256], (7, 8))]
        runner = make_runner()
        assert_same(runner.score(model, runner.prepare(requests)), one_by_one(model, requests, 256))
        with pytest.raises(ConfigError, match="does not fit the model's context of 256"):
            runner.score(model, runner.prepare([Continuation((1,), long)]))

    def test_plans_are_made_once(self, model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = make_runner()
        prepared = runner.prepare(multiple_choice(5))
        chosen = np.array([4, 2, 9])
        first = runner.score(model, prepared), runner.score(model, prepared, chosen)

        for name in ("packed_batches", "plain_batches", "questions_of", "try_out"):
            monkeypatch.setattr(huggingface, name, None)  # whoever plans again, fails
        again = runner.score(model, prepared), runner.score(model, prepared, chosen[::-1])
        assert again[0].log_probability.tolist() == first[0].log_probability.tolist()
        assert again[1].log_probability.tolist() == first[1].log_probability[::-1].tolist()

    def test_follows_the_weights(self, tmp_path: Path) -> None:
        """F29: nothing of a candidate is left in the scores of the next."""
        engine, runner = engine_of(tmp_path), make_runner()
        prepared = runner.prepare(multiple_choice(20))
        scores = [runner.score(engine.build(recipe(engine, scale)), prepared) for scale in (0.0, 0.8, 0.0)]
        assert scores[0].log_probability.tolist() == scores[2].log_probability.tolist()
        assert np.abs(scores[0].log_probability - scores[1].log_probability).min() > 1e-3
        alone = make_runner()
        fresh = alone.score(engine.build(recipe(engine, 0.8)), alone.prepare(prepared.requests))
        assert fresh.log_probability.tolist() == scores[1].log_probability.tolist()

    def test_leaves_the_weights_alone(self, model: LiveModel) -> None:
        before = model.weights.clone(), [p._version for p in model.module.parameters()]
        runner = make_runner()
        runner.score(model, runner.prepare(multiple_choice(3)))
        assert torch.equal(model.weights, before[0])
        assert [p._version for p in model.module.parameters()] == before[1]

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_broken_weights_have_no_score(self, tmp_path: Path, bad: float) -> None:
        broken, runner = live_llama(tmp_path), make_runner()
        prepared = runner.prepare(multiple_choice(3))
        runner.score(broken, prepared)
        broken.weights[100] = bad
        for requests in (prepared, runner.prepare(prepared.requests)):  # known class of models, and not
            with pytest.raises(CandidateError) as failure:
                runner.score(broken, requests)
            assert failure.value.error_class == "NonFiniteLogits"


class TestVisit:
    def test_logits_of_every_request(self, model: LiveModel) -> None:
        requests = multiple_choice(4)
        runner = make_runner()
        found: dict[int, torch.Tensor] = {}
        runner.visit(model, runner.prepare(requests), lambda n, logits: found.update({n: logits.clone()}))
        assert sorted(found) == list(range(16))
        for number, request in enumerate(requests):
            with torch.no_grad():
                expected = model.module(input_ids=torch.tensor([request.tokens[:-1]])).logits[0]
            assert found[number].dtype == torch.float32
            torch.testing.assert_close(found[number], expected[-len(request.continuation) :], atol=1e-4, rtol=1e-4)

    def test_chosen_once_each(self, model: LiveModel) -> None:
        runner, seen = make_runner(), []
        runner.visit(model, runner.prepare(multiple_choice(4)), lambda n, _: seen.append(n), np.array([5, 2, 5]))
        assert sorted(seen) == [2, 5]

    def test_broken_weights(self, tmp_path: Path) -> None:
        broken, runner = live_llama(tmp_path), make_runner()
        prepared = runner.prepare(multiple_choice(1))
        runner.score(broken, prepared)
        broken.weights[100] = float("nan")
        with pytest.raises(CandidateError, match="NaN or infinite"):
            runner.visit(broken, prepared, lambda n, logits: None)


class TestOutOfMemory:
    @pytest.mark.parametrize(
        "error", [MemoryError(), RuntimeError("CUDA out of memory"), torch.OutOfMemoryError("oom")]
    )
    @pytest.mark.parametrize("visiting", [False, True])
    def test_halves_and_goes_on(
        self, model: LiveModel, monkeypatch: pytest.MonkeyPatch, error: Exception, visiting: bool
    ) -> None:
        requests = multiple_choice(20)
        expected, runner = one_by_one(model, requests), make_runner(max_tokens=400)
        prepared = runner.prepare(requests)
        sizes = _limited(monkeypatch, 150, error)
        if visiting:
            seen: list[int] = []
            runner.visit(model, prepared, lambda n, _: seen.append(n))
            assert sorted(seen) == list(range(80))
        else:
            assert_same(runner.score(model, prepared), expected)
        assert max(sizes) > 150
        sizes.clear()
        runner.score(model, prepared)
        assert max(sizes) <= 150  # remembered

    def test_not_even_one_fits(self, model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = make_runner()
        _limited(monkeypatch, 10, MemoryError())
        with pytest.raises(CandidateError) as failure:
            runner.score(model, runner.prepare(multiple_choice(2)))
        assert failure.value.error_class == "OutOfMemory"

    def test_other_errors_come_through(self, model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = make_runner()
        prepared = runner.prepare(multiple_choice(2))
        runner.score(model, prepared)
        _limited(monkeypatch, 10, RuntimeError("device-side assert"))
        with pytest.raises(RuntimeError, match="assert"):
            runner.score(model, prepared)


def _limited(monkeypatch: pytest.MonkeyPatch, limit: int, error: Exception) -> list[int]:
    """Batches of more tokens than the limit run out of memory; returns the sizes asked for."""
    sizes: list[int] = []
    original = Decoder.states

    def states(self: Decoder, batch: Any, past: Any = None) -> torch.Tensor:
        sizes.append(batch.tokens.numel())
        if sizes[-1] > limit:
            raise error
        return original(self, batch, past)

    monkeypatch.setattr(Decoder, "states", states)
    return sizes


@pytest.fixture
def counted(model: LiveModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of each pass through the transformer, stems too."""
    sizes: list[int] = []
    body: Any = model.module.base_model
    original = body.forward

    def forward(*arguments: Any, **named: Any) -> Any:
        sizes.append(named["input_ids"].numel())
        return original(*arguments, **named)

    monkeypatch.setattr(body, "forward", forward)
    return sizes
