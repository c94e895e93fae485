"""A search over the parameters of a candidate: Optuna proposes, processes rehearse, and what is worse beyond chance is ended early.

Trials are proposed eight at a time, from what is known of all before, whatever the number of processes: so the same seed finds the same,
on any machine.
"""

from __future__ import annotations

import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Any, Final, Literal

import msgspec
import optuna

from cli.errors import UserError
from online_models.compared import blocks, losses, mean
from online_models.definition import Candidate, Choice, Model, Scale, Search, in_zone
from online_models.example import Example
from online_models.parse import parse_model
from online_models.pipelines import BadCandidate
from online_models.rehearsal import Gathered, Rehearsal
from online_models.search import changed
from online_models.standard import standard_kit

GENERATION: Final = 8
"""Trials that are proposed at once, and processes at most."""

BLOCKS: Final = 30
"""Parts of the examples, after each of which a trial may be ended."""

WORSE: Final = 0.01
"""A trial is ended once it would be as much worse than the best so far with this chance were it no worse (Wilcoxon's signed-rank test)."""

_DIGITS: Final = 4

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Attempt:
    """What came of one trial. `loss` is the mean over all examples, None unless it went to the end; `parts` are those of the blocks that
    it did. `failure` says why it cannot be used, "" where nothing is known against it."""

    loss: float | None
    parts: list[float]
    failure: str = ""


@dataclass(frozen=True)
class Trial:
    """One trial: the values by their paths, what became of it, its loss (of what it has seen, where it was ended early), and the share of
    the examples that it has seen."""

    number: int
    values: dict[str, Any]
    state: Literal["finished", "pruned", "failed"]
    loss: float | None
    seen: float
    failure: str = ""


@dataclass(frozen=True)
class Bench:
    """Where one candidate is tried: over the outcomes known up to `cut` (epoch ms), judged by the examples at `places`."""

    model: Model
    candidate: Candidate
    gathered: Gathered
    cut: int
    places: Sequence[int]

    def attempt(
        self, values: Mapping[str, Any], best: Sequence[float] = (), stopped: Callable[[], bool] = lambda: False
    ) -> Attempt:
        """Try these values. It is ended early where its parts are worse than those of the best so far; without any, it is not."""
        candidate = changed(self.candidate, values)
        try:
            rehearsal = Rehearsal(self.model, candidate, self.gathered, standard_kit())
        except BadCandidate as error:
            return Attempt(None, [], error.problems[0].message)
        metric, parts = self.model.promotion.metric, blocks(self.places, BLOCKS)
        done: list[float] = []
        costs: list[float | None] = []
        silent = False
        is_worse = _pruner(best) if best else lambda _: False

        def heard(count: int) -> bool:
            nonlocal silent
            costs.extend(losses(metric, rehearsal.outputs, self.gathered, len(costs)))
            while len(done) < len(parts) and parts[len(done)][-1] < count:
                part = mean(costs, self.gathered, parts[len(done)])
                silent = silent or math.isnan(part)
                if silent or stopped():
                    return False
                done.append(part)
                if is_worse(done):
                    return False
            return True

        ended = rehearsal.run(self.cut, heard)
        if rehearsal.failure or silent:
            return Attempt(None, done, rehearsal.failure or "it says nothing where the declared candidate does")
        if not ended or len(done) < len(parts):
            return Attempt(None, done)
        return Attempt(mean(costs, self.gathered, self.places), done)


def _pruner(best: Sequence[float]) -> Callable[[list[float]], bool]:
    """A function that says of the parts so far whether they are worse than those of the best."""
    with warnings.catch_warnings():
        # It may change in another version of Optuna; the lock says which one is here.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=WORSE, n_startup_steps=BLOCKS // 6)
    study = optuna.create_study(pruner=pruner)
    known = optuna.trial.create_trial(value=sum(best) / len(best), intermediate_values=dict(enumerate(best)))
    study.add_trial(known)
    trial = study.ask()

    def is_worse(parts: list[float]) -> bool:
        trial.report(parts[-1], len(parts) - 1)
        return trial.should_prune()

    return is_worse


# --- the search -------------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What a search has found. `trials` are in the order in which they were proposed; `importance` is the share of each path in what the
    losses differ by, as far as it can be told; `interrupted`: somebody had enough before all was done."""

    trials: list[Trial] = field(default_factory=list)
    importance: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def best(self) -> Trial | None:
        """The trial with the least loss of those that went to the end."""
        ended = [one for one in self.trials if one.state == "finished"]
        return min(ended, key=lambda one: (one.loss or 0.0, one.number), default=None)

    def count(self, state: str) -> int:
        """How many trials ended so."""
        return sum(one.state == state for one in self.trials)


class Searching:
    """One search under way. `declared` is what came of the candidate as it is in the file; `found` grows as trials end."""

    def __init__(self, bench: Bench, search: Search, declared: Attempt, seed: int) -> None:
        self.found = Found()
        self._bench, self._space = bench, search.space
        self._best = declared
        self._known: dict[str, Attempt] = {}
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        self._study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.NopPruner())

    @property
    def tried(self) -> int:
        """How many different values have been tried so far."""
        return len(self._known)

    def run(self, trials: int, crew: Crew) -> Found:
        """Make so many trials. An interrupt ends it with what is known by then."""
        try:
            while len(self.found.trials) < trials:
                self._generation(min(GENERATION, trials - len(self.found.trials)), crew)
        except KeyboardInterrupt:
            self.found.interrupted = True
        if self.found.count("finished") > 1:
            self.found.importance = optuna.importance.get_param_importances(self._study)
        return self.found

    def _generation(self, size: int, crew: Crew) -> None:
        space = {one.path: _distribution(one) for one in self._space}
        asked = [self._study.ask(space) for _ in range(size)]
        values = [{one.path: _value(one, trial.params[one.path]) for one in self._space} for trial in asked]
        wanted = {repr(one): one for one in values if repr(one) not in self._known}
        try:
            for key, attempt in crew.attempts(wanted, self._best.parts):
                self._known[key] = attempt
        finally:
            for trial, one in zip(asked, values, strict=True):
                if repr(one) in self._known:
                    self._note(trial, one, self._known[repr(one)])

    def _note(self, trial: optuna.Trial, values: dict[str, Any], attempt: Attempt) -> None:
        number, loss, state = len(self.found.trials), attempt.loss, optuna.trial.TrialState
        seen = len(attempt.parts) / max(len(blocks(self._bench.places, BLOCKS)), 1)
        if attempt.failure:
            self._study.tell(trial, state=state.FAIL)
            self.found.trials.append(Trial(number, values, "failed", None, seen, attempt.failure))
        elif loss is None:
            so_far = sum(attempt.parts) / len(attempt.parts)
            trial.report(so_far, len(attempt.parts))
            self._study.tell(trial, state=state.PRUNED)
            self.found.trials.append(Trial(number, values, "pruned", so_far, seen))
        else:
            self._study.tell(trial, loss)
            self.found.trials.append(Trial(number, values, "finished", loss, 1.0))
            if self._best.loss is None or loss < self._best.loss:
                self._best = attempt


def _distribution(one: Scale | Choice) -> optuna.distributions.BaseDistribution:
    if isinstance(one, Choice):
        return optuna.distributions.CategoricalDistribution(range(len(one.values)))
    if one.whole:
        return optuna.distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
    return optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)


def _value(one: Scale | Choice, drawn: Any) -> Any:
    """What is tried: as it would be written, with no more digits than anybody wants to read."""
    if isinstance(one, Choice):
        return one.values[drawn]
    return drawn if one.whole else min(max(float(f"{drawn:.{_DIGITS}g}"), one.low), one.high)


# --- processes --------------------------------------------------------------------------------------------------------


class Crew:
    """Makes attempts at a bench, in this process or in others."""

    def __init__(self, bench: Bench, pool: ProcessPoolExecutor | None) -> None:
        self._bench, self._pool = bench, pool

    def attempts(self, wanted: Mapping[str, Mapping[str, Any]], best: Sequence[float]) -> Iterator[tuple[str, Attempt]]:
        """Each of the values tried, by its key, as they end."""
        if self._pool is None:
            for key, values in wanted.items():
                yield key, self._bench.attempt(values, best)
            return
        futures: dict[Future[Attempt], str] = {
            self._pool.submit(_attempt, dict(values), list(best)): key for key, values in wanted.items()
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise UserError(
                "a process that tried candidates was killed", "with `--jobs 1` less memory is used"
            ) from None


@contextmanager
def crew_of(bench: Bench, text: str, jobs: int) -> Iterator[Crew]:
    """Those who try, `jobs` of them; `text` is that of the model's file, from which each makes the model for itself."""
    jobs = min(jobs, GENERATION)
    if jobs == 1:
        yield Crew(bench, None)
        return
    context = get_context("spawn")
    stopped = context.Event()
    packed = msgspec.msgpack.encode([bench.gathered.examples, bench.gathered.asked])
    start = (text, bench.model.file, bench.model.zone, bench.candidate.name, packed, bench.cut, list(bench.places))
    pool = ProcessPoolExecutor(jobs, context, _sit_down, (start, stopped))
    try:
        yield Crew(bench, pool)
    finally:
        # Whoever is still at it is told so, and ends with the block at hand.
        stopped.set()
        pool.shutdown(cancel_futures=True)


def jobs_here() -> int:
    """How many processes there are to be unless told."""
    return max(1, min(os.cpu_count() or 1, GENERATION))


_Start = tuple[str, str, str | None, str, bytes, int, list[int]]
_here: list[tuple[Bench, Event]] = []
"""The bench of this process, in one that makes attempts for another."""


def _sit_down(start: _Start, stopped: Event) -> None:
    # An interrupt goes to all processes of a terminal: it is for the one that asked to say what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    text, file, zone, name, packed, cut, places = start
    model = parse_model(text, file)
    model = in_zone(model, zone) if zone is not None else model
    examples, asked = msgspec.msgpack.decode(packed, type=tuple[tuple[Example, ...], tuple[int, ...]])
    candidate = next(one for one in model.candidates if one.name == name)
    _here[:] = [(Bench(model, candidate, Gathered(examples, asked), cut, places), stopped)]


def _attempt(values: dict[str, Any], best: list[float]) -> Attempt:
    bench, stopped = _here[0]
    return bench.attempt(values, best, stopped.is_set)
