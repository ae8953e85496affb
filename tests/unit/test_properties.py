"""What holds for any picture and any activations (Hypothesis).

Activations are small whole numbers: float32 holds their Gram matrices exactly, so a tolerance is only for the last sum.
"""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from nst_graph import costs
from nst_graph.images import create_noisy_img, load_img, read_picture, save_img, write_picture
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings

N_H, N_W, N_C = SHAPE = (3, 5, 4)
MEANS = Settings().color_means

any_activations = hypothesis_numpy.arrays(np.float32, (1, *SHAPE), elements=st.integers(-8, 8))
any_picture = hypothesis_numpy.arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7), st.just(3)))
any_ratio = st.floats(0, 1)
any_seed = st.integers(0, 2**32 - 1)

properties = settings(max_examples=60, deadline=None, derandomize=True)


class Evaluator:
    """The cost functions of one session: arrays in, numbers out."""

    def __init__(self, tf, session):
        self._session = session
        self._one, self._other = (tf.placeholder(tf.float32, (1, *SHAPE)) for _ in range(2))
        self._gram_matrix = costs.gram_matrix(self._one)
        self._content_cost = costs.content_cost(self._one, self._other)
        self._style_cost = costs.style_cost([self._one], [self._other], [1])

    def gram_matrix(self, activations):
        return self._session.run(self._gram_matrix, feed_dict={self._one: activations})

    def content_cost(self, one, other):
        return self._session.run(self._content_cost, feed_dict={self._one: one, self._other: other})

    def style_cost(self, one, other):
        return self._session.run(self._style_cost, feed_dict={self._one: one, self._other: other})


@pytest.fixture(scope="module")
def evaluator():
    runtime = get_runtime()
    with runtime.session_scope() as session:
        yield Evaluator(runtime.tf, session)


@properties
@given(a=any_activations)
def test_activations_cost_nothing_against_themselves(evaluator, a):
    assert evaluator.content_cost(a, a) == evaluator.style_cost(a, a) == 0


@properties
@given(one=any_activations, other=any_activations)
def test_costs_are_symmetric_and_not_negative(evaluator, one, other):
    for cost in (evaluator.content_cost, evaluator.style_cost):
        assert cost(one, other) == cost(other, one) >= 0
    assert (evaluator.content_cost(one, other) == 0) == (one == other).all()


@properties
@given(one=any_activations, other=any_activations, scale=st.integers(1, 5))
def test_content_cost_goes_with_the_square_and_style_cost_with_the_fourth_power(evaluator, one, other, scale):
    for cost, power in ((evaluator.content_cost, 2), (evaluator.style_cost, 4)):
        # Two sums, each rounded to float32: 1.2e-7 and no more per partial sum.
        assert cost(scale * one, scale * other) == pytest.approx(scale**power * cost(one, other), rel=2e-6)


@properties
@given(a=any_activations, order=st.permutations(range(N_H * N_W)))
def test_style_knows_no_positions_and_content_does(evaluator, a, order):
    shuffled = a.reshape((N_H * N_W, N_C))[order].reshape(a.shape)
    np.testing.assert_array_equal(evaluator.gram_matrix(shuffled), evaluator.gram_matrix(a))
    assert evaluator.style_cost(a, shuffled) == 0
    assume((shuffled != a).any())
    assert evaluator.content_cost(a, shuffled) > 0


@properties
@given(one=any_activations, other=any_activations, order=st.permutations(range(N_C)))
def test_the_order_of_channels_does_not_matter(evaluator, one, other, order):
    np.testing.assert_array_equal(
        evaluator.gram_matrix(one[..., order]), evaluator.gram_matrix(one)[np.ix_(order, order)]
    )
    for cost in (evaluator.content_cost, evaluator.style_cost):
        # Another order of summation, so another rounding.
        assert cost(one[..., order], other[..., order]) == pytest.approx(cost(one, other), rel=2e-6)


@properties
@given(a=any_activations)
def test_gram_matrices_are_symmetric_and_positive_semidefinite(evaluator, a):
    gram = evaluator.gram_matrix(a).astype(np.float64)
    np.testing.assert_array_equal(gram, gram.T)
    assert np.linalg.eigvalsh(gram).min() >= -1e-12 * np.trace(gram)
    assert np.trace(gram) == (a.astype(np.float64) ** 2).sum()


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    return str(tmp_path_factory.mktemp("pictures") / "x.png")


@properties
@given(picture=any_picture)
def test_a_png_keeps_a_picture(png, picture):
    write_picture(picture, png)
    np.testing.assert_array_equal(read_picture(png), picture)


@properties
@given(picture=any_picture)
def test_a_picture_loaded_and_saved_stays_the_same_but_for_a_cut_fraction(png, picture):
    cv2.imwrite(png, picture)
    height, width = picture.shape[:2]
    img = load_img(png, (width, height), MEANS)
    np.testing.assert_allclose(img[0], picture - MEANS, rtol=1e-6)
    before = img.copy()
    save_img(img[0], png, MEANS)
    np.testing.assert_array_equal(img, before)
    lost = picture.astype(int) - cv2.imread(png)
    # In float32 a dark value less the mean plus the mean can be a hair below itself: 7.999998 is cut to 7.
    assert set(np.unique(lost)) <= {0, 1}
    assert not lost[picture >= 64].any()


@properties
@given(picture=any_picture, ratio=any_ratio, seed=any_seed)
def test_noise_is_within_its_bounds_and_mixed_in_the_ratio(picture, ratio, seed):
    img = picture.astype(np.float32)[np.newaxis]
    before = img.copy()
    noisy = create_noisy_img(img, ratio, np.random.RandomState(seed))
    np.testing.assert_array_equal(img, before)
    assert noisy.dtype == np.float32
    part = noisy - (1 - ratio) * img.astype(np.float64)
    # float32 rounds values up to 255 by 1.5e-5.
    assert np.abs(part).max() <= 20 * ratio + 5e-5
    noise = np.random.RandomState(seed).uniform(-20, 20, img.shape)
    np.testing.assert_allclose(part, ratio * noise, rtol=0, atol=5e-5)
