"""The text of one fused kernel: a TensorPlan's slots as straight-line code for one element.

With the number of models known every intermediate value stays in a register, which makes the difference between a
third and nearly all of the memory bandwidth. The text is the same for numba and Triton: both provide the functions
it calls (``where``, ``load_bfloat16``, ``finish_hash`` ...).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from searcher.merge.kernels.spec import BOUND_ALL, BOUND_NONE, BOUND_SOME, KernelSpec

Half: TypeAlias = Literal["", "low", "high"]


class KernelText:
    """Code of one kernel, for element ``first + i`` of the tensor, ``i`` of the arrays, in one row.

    Args:
        spec: What the code depends on.
        half: Empty; or for element ``first + 2 * i`` (``low``) or the one after it (``high``), whose 16 bits are a half
            of the words that ``words`` reads: one load, and one operation instead of two to widen it.

    Attributes:
        arrays: Names of the array arguments, in order.
        words: Statements that read pair ``i`` of each array, for halves.
        prelude: Statements that read the row's scalars from ``floats[row, j]`` and ``whole[row, j]``.
        body: Statements for one element; the result is ``value``.
    """

    def __init__(self, spec: KernelSpec, half: Half = "") -> None:
        self.spec = spec
        self._half = half
        self.prelude: list[str] = []
        self.body: list[str] = []
        self.arrays = ["out", *(["base"] if spec.dtypes[1] else []), *(f"model{k}" for k in self._all)]
        self._n_floats = self._n_whole = 0
        self._write()
        self.words = [f"word_{name} = load_word({name}, i)" for name in self.arrays[1:]]

    @property
    def _all(self) -> range:
        return range(self.spec.n_models)

    def _load(self, kind: str, array: str) -> str:
        return f"{self._half}_{kind}(word_{array})" if self._half else f"load_{kind}({array}, i)"

    def _hash(self) -> str:
        return "pair_hash(i, key)" if self._half else "shared_hash(i, key)"

    def _float(self, name: str) -> None:
        self.prelude.append(f"{name} = floats[row, {self._n_floats}]")
        self._n_floats += 1

    def _uint(self, name: str) -> None:
        self.prelude.append(f"{name} = whole[row, {self._n_whole}]")
        self._n_whole += 1

    def _write(self) -> None:
        spec = self.spec
        if spec.dtypes[1]:
            self.body.append(f"b = {self._load(spec.dtypes[1], 'base')}")
        for k in self._all:
            self._float(f"scale{k}")
            self.body.append(f"v{k} = {self._vector(k)}")
        self._keep()
        for k in self._all:
            self.body.append(f"s{k} = m{k} * scale{k}")
        self._average()
        self._finish()

    def _vector(self, k: int) -> str:
        load = self._load(self.spec.dtypes[2 + k], f"model{k}")
        if self.spec.deltas and not self.spec.is_delta[k]:
            return f"{load} - b"
        return f"b + {load}" if self.spec.is_delta[k] and not self.spec.deltas else load

    def _keep(self) -> None:
        kind, *variant = self.spec.keep
        if kind == "all":
            self.body += [f"m{k} = v{k}" for k in self._all]
        else:
            getattr(self, f"_keep_{kind}")(*variant)

    def _tie_hash(self) -> None:
        self.body.append(f"tie = {self._hash()}")

    def _keep_magnitude(self, low: str, high: str, high_tie: str) -> None:
        for name in ["low", *(["above_low"] if low else []), *(["high"] if high else [])]:
            for k in self._all:
                self._float(f"{name}{k}")
        for name in [*(["low_tie"] if low else []), *(["high_tie"] if high_tie else [])]:
            for k in self._all:
                self._uint(f"{name}{k}")
        if low or high_tie:
            self._tie_hash()
        for k in self._all:
            self.body.append(f"a{k} = absolute(v{k})")
            test = f"(a{k} > low{k})"
            if low:  # the same as "above, or equal with a tie hash that is low enough", in fewer operations
                test = f"(a{k} >= where(at_most(tie, low_tie{k}), low{k}, above_low{k}))"
            if high:
                below = f"(a{k} < high{k})"
                if high_tie:
                    below = f"({below} | ((a{k} == high{k}) & above(tie, high_tie{k})))"
                test = f"({test} & {below})"
            self.body.append(f"m{k} = where({test}, v{k}, ZERO)")

    def _keep_random(self, *states: str) -> None:
        for k in self._all:
            self._uint(f"bound{k}")
        self._model_keys()
        for k, state in enumerate(states):
            test = f"at_most(finish_hash(shared, offset{k}, multiplier{k}), bound{k})"
            kept = f"where({test}, v{k}, ZERO)"
            self.body.append(
                f"m{k} = " + {BOUND_SOME: kept, BOUND_ALL: f"v{k}", BOUND_NONE: f"where(False, v{k}, ZERO)"}[state]
            )

    def _keep_ranked(self, rescale: bool) -> None:
        for name in ("low", "span"):
            for k in self._all:
                self._float(f"{name}{k}")
        self.arrays += [f"rank{k}" for k in self._all]
        self._model_keys()
        for k in self._all:
            self.body.append(f"p{k} = {self._load('rank', f'rank{k}')} * span{k} + low{k}")
            kept = f"v{k} / p{k}" if rescale else f"v{k}"
            self.body.append(
                f"m{k} = where(uniform(finish_hash(shared, offset{k}, multiplier{k})) < p{k}, {kept}, ZERO)"
            )

    def _keep_importance(self) -> None:
        for name in ("importance", "threshold"):
            for k in self._all:
                self._float(f"{name}{k}")
        for k in self._all:
            self.body.append(f"m{k} = where(absolute(v{k}) * importance{k} >= threshold{k}, v{k}, ZERO)")

    def _keep_clip(self) -> None:
        for k in self._all:
            self._float(f"limit{k}")
            self.body.append(f"m{k} = where(v{k} > limit{k}, limit{k}, where(v{k} < -limit{k}, -limit{k}, v{k}))")

    def _keep_mask(self) -> None:
        self.arrays += [f"mask{k}" for k in self._all]
        self.body += [f"m{k} = where({self._load('mask', f'mask{k}')}, v{k}, ZERO)" for k in self._all]

    def _keep_variance(self, tie: str) -> None:
        self._float("threshold")
        n = f"FLOAT({self.spec.n_models}.0)"
        self.body += [f"e{k} = v{k} - v0" for k in self._all]
        self.body.append(f"mean = divide({self._sum('e')}, {n})")
        self.body += [f"d{k} = e{k} - mean" for k in self._all]
        self.body += [f"q{k} = d{k} * d{k}" for k in self._all]
        self.body.append(f"variance = divide({self._sum('q')}, {n})")
        test = "(variance > threshold)"
        if tie:
            self._uint("threshold_tie")
            self._tie_hash()
            test = f"({test} | ((variance == threshold) & at_most(tie, threshold_tie)))"
        self.body += [f"m{k} = where({test}, v{k}, ZERO)" for k in self._all]

    def _model_keys(self) -> None:
        for k in self._all:
            self._uint(f"offset{k}")
            self._uint(f"multiplier{k}")
        self.body.append(f"shared = {self._hash()}")

    def _average(self) -> None:
        spec = self.spec
        if spec.average == "sum":
            self.body.append(f"value = {self._sum('s')}")
            return
        counts = spec.average == "agreeing_count"
        if spec.average in ("agreeing", "agreeing_signed", "unique"):
            for k in self._all:
                self._float(f"weight{k}")
        if spec.average == "unique":
            self.body += [f"n{k} = where(m{k} != ZERO, ONE, ZERO)" for k in self._all]
            self.body.append(f"number = {self._sum('n')}")
            self.body += [f"w{k} = s{k} * weight{k}" for k in self._all]
            divided = f"divide({self._sum('s')}, where(number > ONE, number, ONE))"
            self.body.append(f"value = where(number == ONE, {self._sum('w')}, {divided})")
            return
        if spec.vote == "weighted":
            vote = self._sum("s")
        else:
            for k in self._all:
                self._float(f"side{k}")
                self.body.append(f"u{k} = m{k} * side{k}")
            vote = self._sum("u")
        self.body.append(f"vote = {vote}")
        elected = "vote" if spec.zero_is_positive else "where(vote > ZERO, ONE, -ONE)"
        self.body.append(f"sign = sign_bits({elected})")
        for k in self._all:
            self.body.append(f"x{k} = flip(s{k}, sign)")
            self.body.append(f"t{k} = where(x{k} > ZERO, x{k}, ZERO)")
        self.body.append(f"value = {self._sum('t')}")
        if spec.average != "agreeing_sum":
            self.body += [f"w{k} = where(x{k} > ZERO, {'ONE' if counts else f'weight{k}'}, ZERO)" for k in self._all]
            self.body.append(f"divisor = {self._sum('w')}")
            self.body.append("value = divide(value, where(divisor == ZERO, ONE, divisor))")
        self.body.append("value = flip(value, sign)")

    def _sum(self, letter: str) -> str:
        return " + ".join(f"{letter}{k}" for k in self._all)

    def _finish(self) -> None:
        if self.spec.scaled:
            self._float("factor")
            self.body.append("value = value * factor")
        if self.spec.origin == "scaled":
            self._float("origin")
            self.body.append("value = value + b * origin")
        elif self.spec.origin == "one":
            self.body.append("value = value + b")
