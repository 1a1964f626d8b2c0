"""Random numbers: Philox's published vectors, and what the functions built on it promise."""

import statistics

import numpy as np
import pytest

from foveal import rng
from foveal.errors import UsageError
from foveal.layers import LayerRandom

ALL_ONES = 0xFFFFFFFF

# known-answer vectors of philox4x32, 10 rounds, from the Random123 distribution (kat_vectors)
KNOWN = {
    "zeros": ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    "ones": ((ALL_ONES,) * 4, (ALL_ONES,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    "pi": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
}


@pytest.mark.parametrize("case", KNOWN)
def test_philox_known_answers(case: str) -> None:
    counter, key, expected = KNOWN[case]
    assert " ".join(f"{int(word):08x}" for word in rng.philox(counter, key)) == expected


def test_philox_broadcasts_counters() -> None:
    rows, columns = np.arange(3)[:, None], np.arange(4)
    words = rng.philox((rows, columns, 5, 6), (7, 8))
    for i, j in np.ndindex(3, 4):
        assert [int(word[i, j]) for word in words] == [int(word) for word in rng.philox((i, j, 5, 6), (7, 8))]


def test_uniform_is_in_the_half_open_interval() -> None:
    assert rng.uniform(np.array([0, 255, 256, ALL_ONES], np.uint32)).tolist() == [0, 0, 2.0**-24, 1 - 2.0**-24]
    values = rng.uniform(rng.words((1, 2), 100_000))
    assert values.dtype == np.float32
    assert abs(values.mean() - 0.5) < 4 / np.sqrt(12 * 100_000)


def test_words_are_a_prefix_of_the_longer_stream() -> None:
    long = rng.words((3, 4), 11)
    for count in range(11):
        assert (rng.words((3, 4), count) == long[:count]).all()
    for start in (4, 8):
        assert (rng.words((3, 4), 11 - start, start) == long[start:]).all()
        assert (rng.normal((3, 4), 11 - start, start) == rng.normal((3, 4), 11)[start:]).all()


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_permutation_is_one(count: int) -> None:
    assert sorted(rng.permutation((5, 6), count)) == list(range(count))


def test_permutations_of_other_keys_differ() -> None:
    assert (rng.permutation((5, 6), 100) != rng.permutation((5, 7), 100)).any()


def test_normal_is_the_inverse_of_the_distribution() -> None:
    key, count = (9, 10), 20_000
    uniforms = (rng.words(key, count).astype(np.float64) + 0.5) / 2**32
    inverse = statistics.NormalDist().inv_cdf
    expected = np.array([inverse(u) for u in uniforms])
    # AS 241's shorter form promises about 1 part in 10⁷
    np.testing.assert_allclose(rng.normal(key, count), expected, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("word", [0, 1, 1000, 2**28, 2**31 - 1, 2**31, 2**32 - 1000, 2**32 - 1])
def test_normal_at_the_ends(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rng, "words", lambda key, count, start: np.full(count, word, np.uint32))
    expected = statistics.NormalDist().inv_cdf((word + 0.5) / 2**32)
    assert rng.normal((0, 0), 1)[0] == pytest.approx(expected, rel=2e-7)


def test_own_logarithm() -> None:
    x = np.concatenate([np.geomspace(1e-300, 1e300, 1001), np.linspace(0.5, 2, 1001)])
    np.testing.assert_allclose(rng._log(x), np.log(x), rtol=1e-14, atol=1e-15)


def test_stream_keys_differ_by_each_part() -> None:
    parts = [(0, "init", 0, 0), (1, "init", 0, 0), (2**32, "init", 0, 0), (0, "order", 0, 0), (0, "init", 1, 0)]
    keys = {rng.stream_key(*part) for part in [*parts, (0, "init", 0, 1)]}
    assert len(keys) == 6


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed: int) -> None:
    with pytest.raises(UsageError, match="seed must be between 0 and"):
        rng.stream_key(seed, "init")


def test_layer_random_does_not_depend_on_other_images_or_channels() -> None:
    draw = LayerRandom(1, 2, 3, 0).uniform
    whole = draw((5, 7, 3, 4))
    for images in range(1, 6):
        assert (draw((images, 7, 3, 4)) == whole[:images]).all()
    for channels in (1, 4, 5):  # four channels share a counter: below, at and beyond one
        assert (draw((5, channels, 3, 4)) == whole[:, :channels]).all()


def test_layer_random_of_vectors_is_that_of_one_pixel_images() -> None:
    draw = LayerRandom(1, 2, 3, 0).uniform
    assert (draw((3, 6)) == draw((3, 6, 1, 1)).reshape(3, 6)).all()


def test_layer_random_places_and_keys_all_matter() -> None:
    whole = LayerRandom(1, 2, 3, 0).uniform((4, 8, 5, 5))
    assert len(np.unique(whole)) > 0.99 * whole.size  # 24-bit values: a few may meet
    for other in (LayerRandom(9, 2, 3, 0), LayerRandom(1, 9, 3, 0), LayerRandom(1, 2, 9, 0), LayerRandom(1, 2, 3, 9)):
        assert (other.uniform((4, 8, 5, 5)) != whole).mean() > 0.99
