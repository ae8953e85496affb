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


def test_a_style_may_be_given_as_its_gram_matrix(evaluate):
    expected = evaluate(lambda: costs.style_cost([A], [B], [1]))
    assert evaluate(lambda: costs.style_cost([costs.gram_matrix(A)], [B], [1])) == expected


def test_an_arrays_gram_matrix_is_summed_over_blocks_of_rows():
    """More rows than a block has, and not a multiple of it. Whole numbers, so that float64 sums are exact."""
    rows = np.random.RandomState(0).randint(-8, 9, (1, 100, 701, 4)).astype(np.float32)
    assert 100 * 701 % ((1 << 18) // 4) != 0 and 100 * 701 > (1 << 18) // 4
    whole = rows.reshape(-1, 4).astype(np.int64)
    np.testing.assert_array_equal(costs.gram_matrix(rows), whole.T @ whole)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "term", "layer", "label", "column", "tag"),
        [
            ("content", "content", "", "Content cost", "content_cost", "cost/content"),
            ("total", "total", "", "Total cost", "total_cost", "cost/total"),
            (
                "style/block1_conv1",
                "style",
                "block1_conv1",
                "Style cost of block1_conv1",
                "style_cost_block1_conv1",
                "style_cost/block1_conv1",
            ),
            (
                "total_variation",
                "total_variation",
                "",
                "Total variation cost",
                "total_variation_cost",
                "cost/total_variation",
            ),
        ],
    )
    def test_forms(self, name, term, layer, label, column, tag):
        found = costs.CostName(name)
        assert (found.term, found.layer, found.label, found.column, found.tag) == (term, layer, label, column, tag)

    def test_costs_of_a_graph_are_named_after_its_layers(self):
        tf = get_runtime().tf
        with get_runtime().session_scope():
            with tf.name_scope("block2/block2_conv1"):
                x = tf.identity(tf.constant(A), name="Relu")
            j_content, j_style = costs.content_cost(B, x), costs.style_cost([B, B], [x, tf.constant(A)], [1, 2])
            j_total = costs.total_cost(j_content, j_style, 1, 1)
            named = costs.Costs.of(j_content, j_style, j_total)
        assert list(named) == ["content", "style", "total", "style/block2_conv1", "style/layer_2"]
        assert (named.content, named.style, named.total) == (j_content, j_style, j_total)
        assert list(named.terms) == ["content", "style", "total"]


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="not 1, 1 and 2"):
        costs.style_cost([A], [B], [1, 1])


def test_total_cost(evaluate):
    tf = get_runtime().tf
    assert evaluate(lambda: costs.total_cost(tf.constant(3.0), tf.constant(5.0), 10, 40)) == 230
