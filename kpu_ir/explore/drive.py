"""Points evaluated by many processes: of this machine, or of a Dask cluster.

Whoever evaluates a point writes its file; the driver asks for what is missing, and needs no more of a
worker than that. What a worker leaves behind when it is killed is asked for again.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from kpu_ir.explore.evaluate import Point, Row, evaluate
from kpu_ir.explore.store import Store
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.workers import WORKERS, no_script, pool_of, watch_parent, workers

TRIES = 3
"""So often a point may be in flight when a worker dies; then it is a row with that reason."""


IN_FLIGHT = 500
"""So many points a cluster is asked for at a time: schedulers slow down with tens of thousands."""

DASK_TIMEOUT = "20s"
"""How long a scheduler may take to answer."""


class Driver(Protocol):
    """What evaluates points: the position of each and its row, in any order."""

    def rows(self, points: Sequence[Point]) -> Iterator[tuple[int, Row]]:
        """The row of each point."""
        ...

    def close(self) -> None:
        """Let go of what evaluates."""
        ...


def failed(point: Point, why: str) -> Row:
    """The row of a point that could not be evaluated; it is not kept, and tried again next time."""
    return {
        "workload": point.workload["name"], "status": "error", "reason": why, "key": point.key,
    }  # fmt: skip


def attempt(data: dict[str, Any], folder: str) -> Row:
    """The row of a point, kept in a folder: what a worker does. A bug is a row too; a full disk is an
    error of the whole study."""
    point = Point.of_data(data)
    try:
        return evaluate(point, Store(Path(folder)))
    except KpuError:
        raise
    except Exception as e:  # a bug of ours: the other points go on
        last = traceback.extract_tb(e.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        return failed(point, f"{type(e).__name__} in {place}: {e}"[:300])


class Local:
    """Processes of this machine, kept from one batch to the next; with one, this process."""

    def __init__(self, store: Store, count: int | None = None) -> None:
        """``count``: how many; by default one for each processor."""
        self.store, self.count = store, workers() if count is None else count
        self._opened = ExitStack()
        self._pool: ProcessPoolExecutor | None = None

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._opened.close()
        self._pool = None

    def rows(self, points: Sequence[Point]) -> Iterator[tuple[int, Row]]:
        """The row of each point."""
        if self.count <= 1:
            with one_process():
                for i, point in enumerate(points):
                    yield i, attempt(asdict(point), str(self.store.folder))
            return
        left = dict(enumerate(points))
        for i, point in enumerate(points):
            row = self.store.row(point.key)
            if row is not None:
                del left[i]
                yield i, row
        deaths = dict.fromkeys(left, 0)
        while left:
            # What was in flight when a worker died is tried alone: it is known then who did it.
            suspects = [i for i in left if deaths[i]]
            chosen = suspects[:1] or list(left)
            flying: set[int] = set()
            try:
                for i, row in self._pooled({n: left[n] for n in chosen}, flying):
                    del left[i]
                    yield i, row
            except BrokenProcessPool:
                self.close()
                for i in flying & set(left):
                    deaths[i] += 1
                    if deaths[i] >= TRIES:
                        yield i, failed(left.pop(i), "its worker died, several times")

    def _pooled(self, points: dict[int, Point], flying: set[int]) -> Iterator[tuple[int, Row]]:
        """Rows from the pool; ``flying``: what a worker may have at hand."""
        queue = list(points.items())
        asked: dict[Future[Row], int] = {}
        while queue or asked:
            while queue and len(asked) < self.count + 1:
                i, point = queue.pop(0)
                flying.add(i)
                asked[self._submit(point)] = i
            for done in wait(asked, return_when=FIRST_COMPLETED).done:
                i = asked.pop(done)
                row = done.result()
                flying.discard(i)
                yield i, row

    def _submit(self, point: Point) -> Future[Row]:
        if self._pool is None:
            self._opened = ExitStack()
            self._pool = self._opened.enter_context(pool_of(self.count, _begin))
        with no_script():
            return self._pool.submit(attempt, asdict(point), str(self.store.folder))


def _begin(parent: int) -> None:
    """A worker of the driver: it looks for schedules by itself."""
    os.environ[WORKERS] = "1"
    watch_parent(parent)


@contextmanager
def one_process() -> Generator[None]:
    """No further processes are started meanwhile."""
    before = os.environ.get(WORKERS)
    os.environ[WORKERS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[WORKERS]
        else:
            os.environ[WORKERS] = before


class Dask:
    """A Dask cluster. Workers write to the study's folder where they see it; what they answer is
    written by the driver where they do not."""

    def __init__(self, store: Store, address: str) -> None:
        """``address``: of the scheduler, as ``tcp://10.0.0.1:8786``."""
        try:
            from distributed import Client
        except ImportError:
            raise KpuError("dask is not installed", hint="pip install 'kpu-ir[dask]'") from None
        try:
            self.client: Any = Client(address, timeout=DASK_TIMEOUT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as e:
            raise KpuError(f"no Dask scheduler answers at {address}: {e}") from None
        self.store = store

    def rows(self, points: Sequence[Point]) -> Iterator[tuple[int, Row]]:
        """The row of each point."""
        from distributed import KilledWorker, as_completed

        folder = str(self.store.folder.resolve())
        asked: dict[Any, int] = {}
        queue = list(enumerate(points))
        flying: Any = as_completed(loop=self.client.loop)

        def fill() -> None:
            while queue and len(asked) < IN_FLIGHT:
                i, point = queue.pop(0)
                name = f"kpu-{point.key}"
                task = self.client.submit(remote, asdict(point), folder, key=name, pure=False)
                asked[task] = i
                flying.add(task)

        fill()
        for done in flying:
            i = asked.pop(done)
            try:
                row = done.result()
            except KilledWorker:
                row = failed(points[i], "its workers died, several times")
            done.release()
            if row["status"] != "error" and self.store.row(points[i].key) is None:
                self.store.keep_row(points[i].key, asdict(points[i]), row)
            fill()
            yield i, row

    def close(self) -> None:
        """Leave the cluster."""
        self.client.close()


def remote(data: dict[str, Any], folder: str) -> Row:
    """``attempt`` in a worker of a cluster, which may not see the folder."""
    with one_process():
        return attempt(data, folder if os.path.isdir(folder) else _own_folder())


def _own_folder() -> str:
    from kpu_ir.support.files import cache_folder

    return str(cache_folder() / "explore")
