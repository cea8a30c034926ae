"""Which points of a space are tried. The order depends on the study alone: batches are asked for and
told of whole, in their order, however many workers there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kpu_ir.explore.space import Space
from kpu_ir.support.errors import KpuError

Choice = tuple[int, ...]

FAILED_ASKS = 8
"""So often in a row the optimiser may ask for what is known, and all that is near it; then the next point
that is not known is taken."""


class Sampler(Protocol):
    """Points by the index of each free knob's value; none twice."""

    def ask(self) -> list[Choice]:
        """The next batch; empty when it is done."""
        ...

    def tell(self, choice: Choice, values: Sequence[float] | None, excess: Sequence[float]) -> None:
        """What a point of the last batch yielded: objectives, the less the better, and how far it
        breaks each constraint; None where it has no figures."""
        ...


class Listed:
    """Points that do not depend on results, in one batch."""

    def __init__(self, choices: list[Choice]) -> None:
        """These."""
        self.left = choices

    def ask(self) -> list[Choice]:
        """All of them, once."""
        batch, self.left = self.left, []
        return batch

    def tell(self, choice: Choice, values: Sequence[float] | None, excess: Sequence[float]) -> None:
        """Nothing follows from it."""


def grid(space: Space) -> Listed:
    """Every point."""
    return Listed(list(space.choices()))


def random(space: Space, points: int, seed: int) -> Listed:
    """Points of an additive recurrence, which fills a space evenly (Roberts' R_d, from a seeded
    start); all points where they are few."""
    if len(space) <= points:
        return grid(space)
    sizes = np.array([len(knob.values) for knob in space.free])
    golden = 1.5
    for _ in range(60):  # the root of x ** (d + 1) = x + 1
        golden = (1 + golden) ** (1 / (len(sizes) + 1))
    steps = golden ** -np.arange(1.0, len(sizes) + 1)
    start = np.random.default_rng(seed).random(len(sizes))
    found: dict[Choice, None] = {}
    for i in range(64 * points):
        at = ((start + i * steps) % 1 * sizes).astype(int)
        found.setdefault(tuple(int(n) for n in np.minimum(at, sizes - 1)))
        if len(found) == points:
            break
    return Listed(list(found))


class Optimiser:
    """Optuna's default for several objectives, asked and told in batches of a fixed size."""

    def __init__(
        self,
        space: Space,
        points: int,
        seed: int,
        batch: int,
        objectives: int,
        journal: Path | None,
    ) -> None:
        """``journal``: a file of Optuna's in which others may look on; written anew."""
        try:
            import optuna
        except ImportError:
            raise KpuError(
                "optuna is not installed",
                hint="pip install 'kpu-ir[explore]', or sampler = 'random'",
            ) from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna: Any = optuna
        self.space, self.batch = space, batch
        self.left = min(points, len(space))
        self.known: dict[Choice, None] = {}
        self.open: dict[Choice, Any] = {}
        self.rest = space.choices()
        self.journal = journal
        start = max(10, min(self.left // 8, 4 * len(space.free)))
        self.study: Any = self.optuna.create_study(
            directions=["minimize"] * objectives,
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=start),
        )
        self.first = random(space, min(start, self.left), seed).left

    def ask(self) -> list[Choice]:
        """As many new points as a batch has."""
        found: list[Choice] = []
        while len(found) < min(self.batch, self.left):
            choice, trial = self._next()
            self.known[choice] = None
            self.open[choice] = trial
            found.append(choice)
        self.left -= len(found)
        return found

    def tell(self, choice: Choice, values: Sequence[float] | None, excess: Sequence[float]) -> None:
        """Tell the optimiser."""
        trial = self.open.pop(choice)
        sound = values is not None and all(map(math.isfinite, values))
        for i, over in enumerate(excess if sound else ()):
            trial.set_constraint(f"constraint {i}", over)
        if sound:
            self.study.tell(trial, list(values or ()))
        else:
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def record(self) -> None:
        """Write the journal: what was asked and told so far, for Optuna's own tools."""
        if self.journal is None:
            return
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self.journal.unlink(missing_ok=True)
        storage = JournalStorage(JournalFileBackend(str(self.journal)))
        kept = self.optuna.create_study(
            storage=storage, study_name="kpu-explore", directions=self.study.directions
        )
        complete = self.optuna.trial.TrialState.COMPLETE
        kept.add_trials([t for t in self.study.trials if t.state == complete])

    def _next(self) -> tuple[Choice, Any]:
        """A point that is not known: the first ones fill the space, then the optimiser asks. Where it
        asks for what is known, the nearest that is not."""
        if self.first:
            return self._enqueued(self.first.pop(0))
        for _ in range(FAILED_ASKS):
            trial = self.study.ask()
            choice = tuple(
                trial.suggest_int(knob.name, 0, len(knob.values) - 1) for knob in self.space.free
            )
            if choice not in self.known:
                return choice, trial
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            near = self._near(choice)
            if near is not None:
                return self._enqueued(near)
        return self._enqueued(next(c for c in self.rest if c not in self.known))

    def _near(self, choice: Choice) -> Choice | None:
        """A point that is not known and differs by one step of one knob, or of two."""
        sizes = [len(knob.values) for knob in self.space.free]

        def around(at: Choice) -> list[Choice]:
            moved = ((*at[:i], at[i] + by, *at[i + 1 :]) for i in range(len(at)) for by in (-1, 1))
            return [
                c for c in moved if all(0 <= n < size for n, size in zip(c, sizes, strict=True))
            ]

        first = around(choice)
        every = [*first, *(c for near in first for c in around(near))]
        return next((c for c in every if c not in self.known), None)

    def _enqueued(self, choice: Choice) -> tuple[Choice, Any]:
        names = [knob.name for knob in self.space.free]
        self.study.enqueue_trial(dict(zip(names, choice, strict=True)))
        trial = self.study.ask()
        for knob in self.space.free:
            trial.suggest_int(knob.name, 0, len(knob.values) - 1)
        return choice, trial
