"""Running a search: rounds of trials on an executor, each half kept on disk as it ends, and the answer.

Timing decides nothing: a round's results are observed together and in order, whoever was first. The run folder keeps
results (search/trials.json); a search that was killed asks for the same rounds again and finds there what is done. The
state of a half-trained network is not kept: that half is run again.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

from foveal.errors import RunError
from foveal.lrsearch import (
    SPOILT,
    Best,
    NothingTrainedError,
    Result,
    Search,
    State,
    Trial,
    best,
    longer,
    observe,
    propose,
)  # fmt: skip
from foveal.run.folder import RunFolder
from foveal.search.data import SharedData, with_held_out
from foveal.search.trials import Half, Job, PlanState, TrialStoppedError, run_half, scored, scoring
from foveal.train.events import Event, Listener, RoundDone, SearchFinished, SearchStarted, TrialBegun, TrialDone
from foveal.train.interrupt import Interrupted, stop_request
from foveal.train.session import Session

MakeExecutor = Callable[[int], Executor]

_ATTEMPTS: Final = 3  # at a trial whose worker dies
_POLL: Final = 0.1  # seconds between two looks for Ctrl-C


@dataclass(frozen=True)
class Found:
    """What a search came to. cost: in full trainings, by images that went through a network, evaluation included.
    trials: a record of each, in order."""

    best: Best
    cost: float
    seconds: float
    trials: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """As `foveal search --json` prints it, and config.json keeps it."""
        return {
            "lr": self.best.lr,
            "bracket": list(self.best.bracket),
            "noise": self.best.noise,
            "drift": self.best.drift,
            "cost": self.cost,
            "evidence": self.best.evidence,
            "reason": self.best.reason,
            "seconds": round(self.seconds, 3),
            "trials": list(self.trials),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Found":
        """What `to_json` wrote. Raises KeyError, TypeError or ValueError where something else is there."""
        low, high = values["bracket"]
        answer = Best(
            values["lr"], (low, high), values["noise"], values["drift"], values["evidence"], values["reason"]
        )  # fmt: skip
        return cls(answer, values["cost"], values["seconds"], tuple(values["trials"]))


def search_of(session: Session) -> Search:
    """The search that suits a training."""
    shares = [share for share in session.class_shares if share]
    guess = -math.fsum(share * math.log(share) for share in shares)
    if session.settings.class_weight != "none":
        guess = math.log(len(session.class_shares))
    return Search(guess, seed=session.settings.seed)


def find_rate(
    session: Session,
    folder: RunFolder,
    search: Search | None = None,
    *,
    workers: int | None = None,
    executor: MakeExecutor = ThreadPoolExecutor,
    listeners: Sequence[Listener] = (),
    clock: Callable[[], float] = time.monotonic,
    resume_command: str | None = None,
) -> Found:
    """Search for the learning rate of a training that has not begun; the session is left as it is.

    workers: trials at a time (None: as many as the session has threads); the threads are shared out among them.
    executor: makes what they run on. The answer depends on neither. Trials that are in the folder already are not run
    again. resume_command: what to type after a Ctrl-C, if not the folder's own. Raises Interrupted on Ctrl-C (what is
    done is kept), DataError where there are too few images to judge a rate by, NothingTrainedError where no rate learnt
    anything, RunError where a file cannot be written or workers die.
    """
    begun = clock()
    threads = session.plan.threads
    workers = threads if workers is None else workers
    search = search or search_of(session)
    with stop_request() as request:
        job = job_of(session, search.guess, max(1, threads // workers))
        passes = 0
        if session.initial is not None:
            search, passes = from_its_start(search, job)
        search = longer(search, job.steps(0.0) / job.total_steps)
        runner = _Runner(job, folder, search, workers, executor, listeners, clock)
        runner.passes_before = passes
        runner.resume_command = resume_command or folder.resume_command
        try:
            state = runner.run(lambda: request.requested)
        finally:
            runner.close()
    answer = _answer(search, state)
    seconds = runner.seconds_before + clock() - begun
    found = Found(answer, runner.passes / full_passes(session), seconds, tuple(runner.records()))
    for listener in listeners:
        listener(SearchFinished(found.best, found.cost, seconds))
    return found


def from_its_start(search: Search, job: Job) -> tuple[Search, int]:
    """(the search, images scored) for weights that know something already."""
    begun = job.session(Trial(0, 0, 1.0, 1.0, job.settings.seed))
    index = scoring(job, 0)
    score = scored(begun, index)
    known = score if score is not None and 0 < score < search.guess else None
    return dataclasses.replace(search, known=known), len(index)


def _answer(search: Search, state: State) -> Best:
    """The rate to take. Where nothing improved on weights that the training starts from, what spoilt them least."""
    try:
        return best(search, state)
    except NothingTrainedError:
        if search.known is None:
            raise
    answer = best(dataclasses.replace(search, known=None), state)
    return dataclasses.replace(answer, evidence="weak", reason=SPOILT)


def full_passes(session: Session) -> int:
    """Images that go through the network in a training: those it is trained on, and validation's after each epoch."""
    epochs = -(-session.total_steps // session.steps_per_epoch)
    trained = session.total_steps * session.train_count / session.steps_per_epoch
    return round(trained) + epochs * session.validation_count


def job_of(session: Session, guess: float, threads: int) -> Job:
    """What the trials of a session's search share."""
    data = SharedData(with_held_out(session.data, session.settings.seed))
    return Job(
        session.plan.net, session.optimizer, session.settings, data, session.total_steps, guess, threads,
        session.plan.isa, session.initial,
    )  # fmt: skip


class _Runner:
    """A search on its way: what is kept, what runs, and whom to tell."""

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        search: Search,
        workers: int,
        make: MakeExecutor,
        listeners: Sequence[Listener],
        clock: Callable[[], float],
    ) -> None:
        self.job, self.folder, self.search, self.workers = job, folder, search, workers
        self.make, self.listeners, self.clock = make, listeners, clock
        self.executor: Executor | None = None
        self.kept: dict[str, dict[str, Any]] = {}  # by "rung.number.half"
        self.states: dict[str, PlanState | None] = {}  # of half-trained trials
        self.seconds_before = 0.0
        self.passes_before = 0
        self.resume_command = folder.resume_command
        self._load()

    def run(self, stopped: Callable[[], bool]) -> State:
        """All rounds. Raises Interrupted."""
        state = State()
        self.emit(SearchStarted(self.search, self.workers, self.job.threads, self.job.total_steps))
        while trials := propose(self.search, state):
            done = {r.trial.key for r in state.results}
            half = 2 if trials[0].key in done else 1
            state = observe(state, self.round(trials, half, stopped))
            self.emit(RoundDone(trials[0].rung, half, state))
        return state

    def round(self, trials: Sequence[Trial], half: int, stopped: Callable[[], bool]) -> list[Result]:
        """The results of one round, in the order of its trials."""
        results = {t.key: self._kept_result(t, half) for t in trials}
        self.states = {key: state for key, state in self.states.items() if key in results}
        left = [t for t in trials if results[t.key] is None]
        attempts = 0
        while left:
            attempts += 1
            try:
                self._run(left, half, results, stopped)
            except BrokenExecutor:
                self.close_executor()
                if stopped():  # a terminal's Ctrl-C reaches the workers too
                    raise self._interrupted() from None
                if attempts == _ATTEMPTS:
                    raise RunError(f"the workers of the search died {attempts} times in the same trials") from None
            left = [t for t in left if results[t.key] is None]
        return [result for t in trials if (result := results[t.key]) is not None]

    def _run(
        self, trials: Sequence[Trial], half: int, results: dict[str, Result | None], stopped: Callable[[], bool]
    ) -> None:
        executor = self.executor = self.executor or self.make(self.workers)
        begun = self.clock()
        waiting: dict[Future[Half], Trial] = {
            executor.submit(run_half, self.job, t, half, self.states.get(t.key)): t for t in trials
        }
        told: set[Future[Half]] = set()
        try:
            while waiting:
                if stopped():
                    raise self._interrupted()
                self._tell_begun(waiting, told, half)
                done, _ = wait(waiting, _POLL, FIRST_COMPLETED)
                self._tell_begun(waiting, told, half)
                for future in sorted(done, key=lambda f: waiting[f].number):
                    trial = waiting.pop(future)
                    found = future.result()
                    results[trial.key] = found.result
                    self.states[trial.key] = found.state
                    self._keep(found, self.clock() - begun)
        except TrialStoppedError:
            raise self._interrupted() from None
        finally:
            for future in waiting:
                future.cancel()

    def _tell_begun(self, waiting: Mapping[Future[Half], Trial], told: set[Future[Half]], half: int) -> None:
        """Of the halves that run now and were not told of before. For the eye: nothing is decided by it."""
        for future, trial in waiting.items():
            if future not in told and (future.running() or future.done()):
                told.add(future)
                self.emit(TrialBegun(trial, half))

    def _interrupted(self) -> Interrupted:
        self.job.stop.ask()
        trials = len({(r["rung"], r["number"]) for r in self.kept.values() if r["score"] is not None})
        kept = f"interrupted after {trials} trials of the search, which are kept"
        return Interrupted(f"{kept}; continue with {self.resume_command}")

    def _keep(self, found: Half, seconds: float) -> None:
        r = found.result
        record = {
            **dataclasses.asdict(r.trial), "half": r.half, "steps": self.job.steps(r.trial.horizon), "loss": r.loss,
            "score": r.score, "passes": found.passes,
        }  # fmt: skip
        self.kept[_place(r.trial.rung, r.trial.number, r.half)] = record
        self.folder.write_search(
            {"search": dataclasses.asdict(self.search), "seconds": round(self.seconds_before + seconds, 3),
             "results": [self.kept[place] for place in sorted(self.kept)]}
        )  # fmt: skip
        self.emit(TrialDone(r, self.passes))

    def _load(self) -> None:
        there = self.folder.read_search()
        if there is None:
            return
        if there["search"] != json.loads(json.dumps(dataclasses.asdict(self.search))):
            raise RunError(f"{self.folder.trials} holds another search; remove it to search anew")
        try:
            self.kept = {_place(r["rung"], r["number"], r["half"]): r for r in there["results"]}
            for record in there["results"]:
                float(record["lr"]), int(record["seed"]), int(record["passes"]), record["loss"], record["score"]
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{self.folder.trials} is damaged: remove it to search anew") from None
        self.seconds_before = there["seconds"]

    def _kept_result(self, trial: Trial, half: int) -> Result | None:
        record = self.kept.get(_place(trial.rung, trial.number, half))
        if record is None or (record["lr"], record["seed"]) != (trial.lr, trial.seed):
            return None
        return Result(trial, half, record["loss"], record["score"])

    @property
    def passes(self) -> int:
        return self.passes_before + sum(int(record["passes"]) for record in self.kept.values())

    def records(self) -> Iterable[dict[str, Any]]:
        return (self.kept[place] for place in sorted(self.kept))

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def close_executor(self) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)
        self.executor = None

    def close(self) -> None:
        self.job.stop.ask()
        self.close_executor()
        self.job.data.close()


def _place(rung: int, number: int, half: int) -> str:
    """Sorted, they are in the order of rungs, numbers and halves."""
    return f"{rung:03}.{number:03}.{half}"
