"""Costs against numbers worked out by hand. The comparison with an independent implementation is in tests/reference."""

import numpy as np
import pytest

from nst_graph import costs
from nst_graph.runtimes import get_runtime


@pytest.fixture
def evaluate():
    """Compute what a function of no arguments builds."""
    runtime = get_runtime()

    def run(build):
        with runtime.session_scope() as session:
            return session.run(build())

    return run


# One row of two positions, three channels.
A = np.array([[[[1, 2, 3], [4, 5, 6]]]], np.float32)
B = np.array([[[[1, 0, 3], [2, 5, 7]]]], np.float32)


def test_gram_matrix(evaluate):
    # Channels of A: (1, 4), (2, 5), (3, 6); their dot products, not divided by anything.
    tf = get_runtime().tf
    assert evaluate(lambda: costs.gram_matrix(tf.constant(A))).tolist() == [[17, 22, 27], [22, 29, 36], [27, 36, 45]]


def test_content_cost(evaluate):
    # Differences 2, 2, 1: squares sum to 9; 4 * 1 * 2 * 3 = 24.
    assert evaluate(lambda: costs.content_cost(A, B)) == pytest.approx(9 / 24, rel=1e-6)


def test_style_cost(evaluate):
    # Gram matrix of B: (1, 2), (0, 5), (3, 7) -> [[5, 10, 17], [10, 25, 35], [17, 35, 58]].
    # Squared differences to A's: 144, 144, 100, 144, 16, 1, 100, 1, 169: 819; 4 * 3^2 * 2^2 = 144.
    assert evaluate(lambda: costs.style_cost([A], [B], [1])) == pytest.approx(819 / 144, rel=1e-6)
    # Two layers with coefficients; the second has two rows of one position, so the same products.
    tall = [array.reshape((1, 2, 1, 3)) for array in (A, B)]
    both = evaluate(lambda: costs.style_cost([A, tall[0]], [B, tall[1]], [0.25, 0.5]))
    assert both == pytest.approx(0.75 * 819 / 144, rel=1e-6)


def test_of_arrays_only_the_gram_matrices_enter_the_graph(evaluate):
    tf = get_runtime().tf
    wide = np.ones((1, 100, 100, 4), np.float32)

    def build():
        cost = costs.style_cost([wide], [tf.placeholder_with_default(wide, wide.shape)], [1])
        # The default of the placeholder has 160 kB; the Gram matrix has 64 bytes.
        assert 160e3 < tf.get_default_graph().as_graph_def().ByteSize() < 200e3
        return cost

    assert evaluate(build) == 0


def test_an_arrays_gram_matrix_is_that_of_the_tensor(evaluate):
    tf = get_runtime().tf
    found = costs.gram_matrix(A)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, evaluate(lambda: costs.gram_matrix(tf.constant(A))))


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="not 1, 1 and 2"):
        costs.style_cost([A], [B], [1, 1])


def test_total_cost(evaluate):
    tf = get_runtime().tf
    assert evaluate(lambda: costs.total_cost(tf.constant(3.0), tf.constant(5.0), 10, 40)) == 230
