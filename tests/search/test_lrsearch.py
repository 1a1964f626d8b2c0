"""The search alone, on invented curves: no network, no data, no clock."""

import math
import pickle
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from foveal.errors import UsageError
from foveal.lrsearch import (
    SPOILT,
    Best,
    NothingTrainedError,
    Result,
    Rung,
    Search,
    State,
    Trial,
    best,
    longer,
    observe,
    propose,
    rounded,
)  # fmt: skip

GUESS = math.log(10)
Curve = Callable[[float, float], float | None]  # (log10 of the rate, horizon) → score, None: diverged


def valley(centre: float, curvature: float = 0.9, drift: float = 0.03, cliff: float = 0.6, floor: float = 0.5) -> Curve:
    """A parabola in ln(score) whose place at the full horizon is the centre; it drifts as such curves usually do. Above
    the cliff the network only guesses, and half a decade further it diverges."""

    def curve(x: float, horizon: float) -> float | None:
        away = x - centre - drift * math.log2(horizon)
        if away > cliff:
            return None if away > cliff + 0.5 else GUESS
        return min(GUESS, floor * horizon**-0.2 * math.exp(curvature * away * away))

    return curve


def searched(curve: Curve, noise: float = 0.0, seed: int = 0, search: Search | None = None) -> tuple[Search, State]:
    search, state, draw = search or Search(GUESS, seed=seed), State(), random.Random(seed)
    for _ in range(30):
        trials = propose(search, state)
        if not trials:
            return search, state
        begun = {r.trial.key for r in state.results}
        results = []
        for trial in trials:
            score = curve(math.log10(trial.lr), trial.horizon)
            if score is not None and score < GUESS:  # a network that guesses does so without noise
                score *= math.exp(draw.gauss(0, noise))
            second = trial.key in begun
            results.append(Result(trial, 2 if second else 1, score, score if second else None))
        state = observe(state, results)
    raise AssertionError("the search does not end")


def found(curve: Curve, noise: float = 0.0, seed: int = 0, search: Search | None = None) -> Best:
    return best(*searched(curve, noise, seed, search))


def offsets(curve: Curve, centre: float, noise: float, seeds: int = 40) -> list[float]:
    """How many decades the answers lie from where the best rate is, sorted by size."""
    return sorted((math.log10(found(curve, noise, seed).lr) - centre for seed in range(seeds)), key=abs)


@pytest.mark.parametrize("centre", [-4, -3.3, -2, -1.1, 0, 0.4])
def test_a_smooth_valley(centre: float) -> None:
    away = offsets(valley(centre), centre, 0.0)
    assert abs(away[len(away) // 2]) < 0.1
    assert abs(away[-1]) < 0.3


@pytest.mark.parametrize("centre", [-4, -2.6, -1, 0.3])
def test_a_noisy_valley(centre: float) -> None:
    away = offsets(valley(centre), centre, 0.06)
    assert abs(away[len(away) // 2]) < 0.12
    assert abs(away[int(0.9 * len(away))]) < 0.35


@pytest.mark.parametrize("centre", [-5.6, -5, 0.95, 1.5])
def test_the_range_extends_where_the_best_lies_at_its_edge(centre: float) -> None:
    away = offsets(valley(centre), centre, 0.04)
    assert abs(away[int(0.9 * len(away))]) < 0.35


def test_a_plateau_is_answered_from_its_middle() -> None:
    def plateau(x: float, horizon: float) -> float:
        away = abs(x + 2 - 0.03 * math.log2(horizon))
        return 0.6 if away < 1 else min(GUESS, 0.6 * math.exp(2 * (away - 1)))

    answers = sorted(math.log10(found(plateau, 0.02, seed).lr) for seed in range(20))
    assert -2.3 < answers[10] < -1.7
    assert answers[0] > -2.8
    assert answers[-1] < -1.2


def test_of_two_valleys_the_deeper_one() -> None:
    deep, shallow = valley(-1.5, cliff=9), valley(-4, cliff=9, floor=0.8)

    def curve(x: float, horizon: float) -> float | None:
        return min(deep(x, horizon) or math.inf, shallow(x, horizon) or math.inf)

    answers = [math.log10(found(curve, 0.03, seed).lr) for seed in range(20)]
    assert sum(abs(x + 1.5) < 0.4 for x in answers) >= 18


def test_nothing_above_the_highest_rate_that_trained_well_is_chosen() -> None:
    for seed in range(40):
        curve = valley(-2, cliff=0.1)
        search, state = searched(curve, 0.05, seed)
        trained = [r.trial.lr for r in state.results if r.score is not None and r.score < 0.9 * GUESS]
        assert best(search, state).lr <= max(trained)


def test_where_everything_diverges_it_says_so() -> None:
    search, state = searched(lambda x, h: None)
    with pytest.raises(NothingTrainedError, match=r"every one made the loss infinite.*--lr"):
        best(search, state)
    assert min(r.trial.lr for r in state.results) < 1e-6  # it went below the range first


def test_where_every_trial_guesses_it_says_so() -> None:
    search, state = searched(lambda x, h: GUESS)
    with pytest.raises(NothingTrainedError, match=r"none of .* learnt more than guessing.*--lr"):
        best(search, state)


def test_trials_too_short_to_learn_anything_are_made_again_longer() -> None:
    def slow_start(x: float, horizon: float) -> float | None:
        return GUESS if horizon < 0.1 else valley(-2)(x, horizon)

    search, state = searched(slow_start, 0.02)
    assert abs(math.log10(best(search, state).lr) + 2) < 0.3
    horizons = [max(r.trial.horizon for r in state.results if r.trial.rung == k) for k in (0, 1, 2)]
    assert horizons == [1 / 32, 1 / 8, 1 / 8]
    assert [sum(r.trial.rung == k and r.half == 1 for r in state.results) for k in (0, 1)] == [8, 5]


def test_a_network_that_never_learns_costs_a_bounded_search() -> None:
    _, state = searched(lambda x, h: GUESS)
    assert sum(r.trial.horizon / 2 for r in state.results) < 3.5


def spoilt(edge: float) -> Curve:
    """Weights that score 0.5: short trials spoil them by the more the higher the rate, by a tenth of ln(guess / 0.5) at
    the edge."""
    tenth = math.expm1(0.1 * math.log(GUESS / 0.5))

    def curve(x: float, horizon: float) -> float | None:
        return None if x > edge + 2 else min(GUESS, 0.5 * (1 + tenth * 10 ** (2 * (x - edge))))

    return curve


@pytest.mark.parametrize("edge", [-4.5, -3, -1.6])
def test_from_weights_that_know_much_the_answer_is_where_trials_begin_to_spoil_them(edge: float) -> None:
    for seed in range(20):
        search, state = searched(spoilt(edge), 0.01, seed, Search(GUESS, seed=seed, known=0.5))
        answer = best(search, state)
        assert edge - 0.5 < math.log10(answer.lr) < edge + 0.1
        assert answer.bracket[0] <= answer.lr <= answer.bracket[1]
        assert (answer.evidence, answer.reason) == ("weak", SPOILT)
        assert {r.trial.rung for r in state.results} == {0}


def test_where_the_lowest_rate_spoils_them_the_range_goes_on_below() -> None:
    search = Search(GUESS, known=0.5)
    assert abs(math.log10(found(spoilt(-5.8), search=search).lr) + 5.8) < 0.5
    state = searched(spoilt(-9), search=search)[1]
    assert len({r.trial.key for r in state.results}) <= 8 + 3 * 2


def test_weights_that_short_trials_improve_are_searched_for_as_others_are() -> None:
    for known in (1.0, 2.0):  # of the best trial of 1/32: 0.6
        search, state = searched(valley(-2, floor=0.3), 0.03, search=Search(GUESS, known=known))
        assert abs(math.log10(best(search, state).lr) + 2) < 0.3
        assert {r.trial.rung for r in state.results} == {0, 1}


def test_slow_trials_far_below_a_better_one_are_dropped_at_half_time() -> None:
    def from_above_a_guess(x: float, horizon: float) -> float:
        return min(3.5, 0.6 * math.exp(0.5 * (x + 1) ** 2))

    _, state = searched(from_above_a_guess)
    seconds = {r.trial.key for r in state.results if r.half == 2}
    lower = {r.trial.lr: r.trial.key in seconds for r in state.results if r.trial.rung == 0 and r.trial.lr < 0.1}
    assert [ended for _, ended in sorted(lower.items())] == [False, False, False, True, True]


def test_losses_above_a_guess_drop_no_trial_at_half_time() -> None:
    search, state = Search(GUESS), State()
    trials = propose(search, state)
    state = observe(state, [Result(trial, 1, 10.0 * 2**k) for k, trial in enumerate(trials[:-1])])
    state = observe(state, [Result(trials[-1], 1, None)])
    assert propose(search, state) == trials[:-1]
    better = observe(State(), [replace(r, loss=1.0) if r.trial == trials[3] else r for r in state.results])
    assert propose(search, better) == (trials[3],)


def test_at_most_one_trial_is_added_beside_a_later_rung() -> None:
    counts = set()
    for seed in range(20):
        _, state = searched(valley(-2), 0.05, seed)
        counts.add(sum(r.trial.rung == 1 and r.half == 1 for r in state.results))
    assert counts == {3, 4}


def test_where_all_rates_are_equal_the_evidence_is_weak() -> None:
    answer = found(lambda x, h: 1.0, 0.02)
    assert answer.evidence == "weak"
    assert "hardly depend on the rate" in answer.reason
    assert 1e-6 < answer.lr < 100


def test_diverged_trials_are_no_points_but_no_failures() -> None:
    def mostly_cliff(x: float, horizon: float) -> float | None:
        return None if x > -3.4 else valley(-4)(x, horizon)

    assert abs(math.log10(found(mostly_cliff, 0.03).lr) + 4) < 0.4


def test_trials_that_guess_at_half_time_are_dropped() -> None:
    _, state = searched(valley(-2))
    firsts = {r.trial.key for r in state.results if r.half == 1}
    seconds = {r.trial.key for r in state.results if r.half == 2}
    assert seconds < firsts


def test_later_rungs_are_narrower_and_longer() -> None:
    search, state = searched(valley(-2), 0.03)
    by_rung = [[r.trial for r in state.results if r.trial.rung == k and r.half == 1] for k in (0, 1)]
    width = [math.log10(max(t.lr for t in rung) / min(t.lr for t in rung)) for rung in by_rung]
    assert width[1] < width[0] / 3
    assert [rung[0].horizon for rung in by_rung] == [r.horizon for r in search.rungs]


def test_the_drift_that_the_rungs_show_is_followed_but_less_far() -> None:
    rungs = (Rung(8, 1 / 32), Rung(5, 1 / 16), Rung(5, 1 / 4))

    def median(drift: float) -> float:
        curve = valley(-2, drift=drift, cliff=9)
        answers = sorted(math.log10(found(curve, 0.01, seed, Search(GUESS, rungs, seed=seed)).lr) for seed in range(21))
        return answers[10]

    assert abs(median(0.05) + 2) < 0.05
    for drift in (-0.05, 0.15):  # 0.1 away from what is expected: over two doublings that is 0.2 decades
        without = -2 + (drift - 0.05) * math.log2(1 / 4)
        assert abs(median(drift) + 2) < 0.7 * abs(without + 2)


def test_the_bracket_holds_the_best_rate_four_times_in_five() -> None:
    inside = 0
    for seed in range(60):
        centre = -3 + 2 * random.Random(seed).random()
        low, high = found(valley(centre), 0.05, seed).bracket
        inside += low <= 10**centre <= high
    assert 42 <= inside <= 60


def test_rates_are_stratified() -> None:
    for seed in range(20):
        rates = [math.log10(t.lr) for t in propose(Search(GUESS, seed=seed), State())]
        assert [int((x + 5) / 6 * 8) for x in rates] == list(range(8))


def test_everything_follows_from_the_seed() -> None:
    assert searched(valley(-2), 0.05, 3) == searched(valley(-2), 0.05, 3)
    assert searched(valley(-2), 0.05, 3)[1] != searched(valley(-2), 0.05, 4)[1]
    search, state = searched(valley(-2), 0.05)
    assert pickle.loads(pickle.dumps((search, state))) == (search, state)


def test_seeds_of_trials() -> None:
    own = {t.seed for t in propose(Search(GUESS), State())}
    shared = {t.seed for t in propose(Search(GUESS, one_seed=True), State())}
    assert len(own) == 8
    assert len(shared) == 1


def test_a_round_does_not_depend_on_the_order_of_its_results() -> None:
    search = Search(GUESS)
    results = [Result(t, 1, valley(-2)(math.log10(t.lr), t.horizon)) for t in propose(search, State())]
    assert observe(State(), results) == observe(State(), results[::-1])
    assert observe(observe(State(), results[:3]), results[3:]) == observe(State(), results)


def test_a_result_counts_once() -> None:
    trial = propose(Search(GUESS), State())[0]
    state = observe(State(), [Result(trial, 1, 2.0)])
    with pytest.raises(UsageError, match=r"half 1 of trial 0\.0 has been observed already"):
        observe(state, [Result(trial, 1, 2.0)])


def test_rates_have_three_digits() -> None:
    assert rounded(0.0123456) == 0.0123
    assert all(t.lr == rounded(t.lr) for t in propose(Search(GUESS), State()))


def test_no_trial_shorter_than_asked() -> None:
    assert [rung.horizon for rung in longer(Search(GUESS), 0.05).rungs] == [0.05, 1 / 16]
    assert [rung.horizon for rung in longer(Search(GUESS), 3.0).rungs] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "must lie below"),
        ({"low": 0.0}, "above 0"),
        ({"rungs": ()}, "at least one rung"),
        ({"guess": 0.0}, "above 0"),
        ({"known": 0.0}, "above 0"),
        ({"seed": -1}, "seed"),
    ],
)
def test_searches_that_cannot_be(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Search(**{"guess": GUESS, **arguments})  # type: ignore[arg-type]


def test_a_trial_names_itself() -> None:
    assert Trial(1, 2, 0.1, 0.5, 7).key == "1.2"
