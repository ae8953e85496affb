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


def test_masked_gram_matrix(evaluate):
    tf = get_runtime().tf
    # The first position half, the second three times: 0.5 (1, 2, 3)^T (1, 2, 3) + 3 (4, 5, 6)^T (4, 5, 6).
    found = evaluate(lambda: costs.gram_matrix(tf.constant(A), tf.constant([[0.5], [3.0]])))
    assert found.tolist() == [[48.5, 61, 73.5], [61, 77, 93], [73.5, 93, 112.5]]


def test_content_cost(evaluate):
    # Differences 2, 2, 1: squares sum to 9; 4 * 1 * 2 * 3 = 24.
    assert evaluate(lambda: costs.content_cost(A, B)) == pytest.approx(9 / 24, rel=1e-6)


class TestContentLayersCost:
    # Differences 1, 2, 0, 3: squares sum to 14; 4 * 1 * 2 * 2 = 16.
    C, D = np.array([[[[1, 2], [3, 4]]], [[[2, 0], [3, 1]]]], np.float32)[:, np.newaxis]

    def test_it_is_the_sum_of_the_layers_by_their_weights(self, evaluate):
        found = evaluate(lambda: costs.content_layers_cost([A, self.C], [B, self.D], [2, 0.5]))
        assert found == pytest.approx(2 * 9 / 24 + 0.5 * 14 / 16, rel=1e-6)

    def test_one_layer_with_weight_1_is_the_articles_to_the_operation(self):
        graphs = []
        for cost in (costs.content_cost, lambda a_c, a_g: costs.content_layers_cost([a_c], [a_g], [1.0])):
            with get_runtime().session_scope() as session:
                cost(A, B)
                graphs.append(session.graph.as_graph_def().SerializeToString(deterministic=True))
        assert graphs[0] == graphs[1]

    def test_one_layer_with_another_weight(self, evaluate):
        assert evaluate(lambda: costs.content_layers_cost([A], [B], [4])) == pytest.approx(4 * 9 / 24, rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "cost"),
    [
        # Down 2, -4, 3, right 3, -2, -3, 5: squares sum to 29 + 47; 4 * 2 * 3 * 1 = 24.
        ([[1, 4, 2], [3, 0, 5]], 76 / 24),
        ([[1, 4, 2]], (9 + 4) / 12),
        ([[1], [4], [2]], (9 + 4) / 12),
        ([[7]], 0),
        ([[7, 7], [7, 7]], 0),
    ],
)
def test_total_variation_cost(evaluate, rows, cost):
    tf = get_runtime().tf
    img = np.array(rows, np.float32)[np.newaxis, :, :, np.newaxis]
    assert evaluate(lambda: costs.total_variation_cost(tf.constant(img))) == pytest.approx(cost, rel=1e-6)
    # Three equal channels have three times the squares over three times the divisor.
    coloured = np.repeat(img, 3, axis=3)
    assert evaluate(lambda: costs.total_variation_cost(tf.constant(coloured))) == pytest.approx(cost, rel=1e-6)


def test_style_cost(evaluate):
    # Gram matrix of B: (1, 2), (0, 5), (3, 7) -> [[5, 10, 17], [10, 25, 35], [17, 35, 58]].
    # Squared differences to A's: 144, 144, 100, 144, 16, 1, 100, 1, 169: 819; 4 * 3^2 * 2^2 = 144.
    assert evaluate(lambda: costs.style_cost([A], [B], [1])) == pytest.approx(819 / 144, rel=1e-6)
    # Two layers with coefficients; the second has two rows of one position, so the same products.
    tall = [array.reshape((1, 2, 1, 3)) for array in (A, B)]
    both = evaluate(lambda: costs.style_cost([A, tall[0]], [B, tall[1]], [0.25, 0.5]))
    assert both == pytest.approx(0.75 * 819 / 144, rel=1e-6)


class TestMaskedStyleCost:
    # Targets of two styles; of B, the first position gives (1, 0, 3)^T (1, 0, 3), the second (2, 5, 7)^T (2, 5, 7).
    TARGETS = np.array([np.zeros((3, 3)), np.ones((3, 3))], np.float32)
    FIRST = np.array([[1, 0, 3], [0, 0, 0], [3, 0, 9]])
    SECOND = np.array([[4, 10, 14], [10, 25, 35], [14, 35, 49]])

    def masked(self, masks, weights, coefficients=(1,)):
        tf = get_runtime().tf
        layers = len(coefficients)
        return costs.style_cost(
            [tf.constant(self.TARGETS)] * layers,
            [tf.constant(B)] * layers,
            coefficients,
            [tf.constant(np.array(masks, np.float32).reshape((2, 2, 1)))] * layers,
            tf.constant(weights, tf.float32),
        )

    @pytest.mark.parametrize(
        ("masks", "weights"),
        [(((1, 0), (0, 1)), (1, 1)), (((0.5, 2), (0, 3)), (0.25, 0.75)), (((1, 1), (1, 1)), (0, 1))],
    )
    def test_each_style_has_its_positions_and_its_weight(self, evaluate, masks, weights):
        wanted = 0
        for target, mask, weight in zip(self.TARGETS, masks, weights):
            gram = mask[0] * self.FIRST + mask[1] * self.SECOND
            wanted += weight * np.sum((target - gram) ** 2) / 144  # 4 * 3^2 * 2^2
        assert evaluate(lambda: self.masked(masks, weights)) == pytest.approx(wanted, rel=1e-6)

    def test_by_hand(self, evaluate):
        # Style 1 at position 1: 1 + 9 + 9 + 81 = 100. Style 2 at position 2, minus 1 each: 9 + 2 * 81 + 2 * 169
        # + 576 + 2 * 1156 + 2304 = 5701.
        assert evaluate(lambda: self.masked(((1, 0), (0, 1)), (2, 0.5))) == pytest.approx(
            (2 * 100 + 0.5 * 5701) / 144, rel=1e-6
        )

    def test_coefficients_of_layers(self, evaluate):
        one = evaluate(lambda: self.masked(((1, 0), (0, 1)), (1, 1)))
        assert evaluate(lambda: self.masked(((1, 0), (0, 1)), (1, 1), (0.25, 1.5))) == pytest.approx(
            1.75 * one, rel=1e-6
        )


class TestLayerCosts:
    @pytest.mark.parametrize("coefficients", [(0.5,), (0.5, 2)])
    def test_of_a_style_cost(self, evaluate, coefficients):
        layers = len(coefficients)
        found = evaluate(lambda: costs.layer_costs(costs.style_cost([A] * layers, [B] * layers, coefficients)))
        assert found == pytest.approx([coefficient * 819 / 144 for coefficient in coefficients], rel=1e-6)

    def test_of_a_content_cost(self, evaluate):
        found = evaluate(lambda: costs.layer_costs(costs.content_layers_cost([A, B], [B, A], [0.5, 2])))
        assert found == pytest.approx([0.5 * 9 / 24, 2 * 9 / 24], rel=1e-6)


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
                "content/block4_conv2",
                "content",
                "block4_conv2",
                "Content cost of block4_conv2",
                "content_cost_block4_conv2",
                "content_cost/block4_conv2",
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

    def test_total_variation_and_shares_of_the_content_have_their_places(self):
        tf = get_runtime().tf
        with get_runtime().session_scope():
            layers = []
            for name in ("block1_conv2", "block3_conv1"):
                with tf.name_scope(f"{name[:6]}/{name}"):
                    layers.append(tf.identity(tf.constant(A), name="Relu"))
            j_content = costs.content_layers_cost([B, B], layers, [1, 2])
            j_style, j_tv = costs.style_cost([B], layers[1:], [1]), costs.total_variation_cost(tf.constant(A))
            j_total = costs.total_cost(j_content, j_style, 1, 1, j_tv, 3)
            shares = costs.layer_costs(j_content)
            named = costs.Costs.of(j_content, j_style, j_total, j_tv, shares)
        terms = ["content", "style", "total_variation", "total"]
        layers = ["content/block1_conv2", "content/block3_conv1", "style/block3_conv1"]
        assert list(named) == terms + layers
        assert list(named.values())[:6] == [j_content, j_style, j_tv, j_total, *shares]
        assert list(named.terms) == terms


class TestCostsOfSums:
    """The same numbers as above, from the sums that are given."""

    def test_content(self, evaluate):
        tf = get_runtime().tf
        shapes, sums = [(1, 2, 3), (2, 1, 2)], (9.0, 14.0)
        one = evaluate(lambda: costs.content_cost_of_sums(shapes[:1], [tf.constant(9.0)], [1]))
        assert one == pytest.approx(9 / 24, rel=1e-6)
        two = evaluate(lambda: costs.content_cost_of_sums(shapes, [tf.constant(each) for each in sums], [2, 0.5]))
        assert two == pytest.approx(2 * 9 / 24 + 0.5 * 14 / 16, rel=1e-6)

    def test_style(self, evaluate):
        tf = get_runtime().tf
        of_a, of_b = (costs.gram_matrix(array) for array in (A, B))
        found = evaluate(
            lambda: costs.style_cost_of_sums([tf.constant(of_a)] * 2, [[tf.constant(of_b)]] * 2, [2, 4], [0.5, 8])
        )
        assert found == pytest.approx(0.5 * 819 / 144 + 8 * 819 / (144 * 4), rel=1e-6)

    def test_masked_style(self, evaluate):
        tf = get_runtime().tf
        of = TestMaskedStyleCost

        def build():
            grams = [tf.constant(gram, tf.float32) for gram in (of.FIRST, of.SECOND)]
            return costs.style_cost_of_sums([tf.constant(of.TARGETS)], [grams], [2], [1], tf.constant([2, 0.5]))

        assert evaluate(build) == pytest.approx((2 * 100 + 0.5 * 5701) / 144, rel=1e-6)

    def test_total_variation(self, evaluate):
        tf = get_runtime().tf
        assert evaluate(lambda: costs.total_variation_cost_of_sum(tf.constant(76.0), (2, 3, 1))) == pytest.approx(
            76 / 24, rel=1e-6
        )

    def test_neighbours_of_some_rows(self, evaluate):
        """Right 3, -2; down 2, -4, 3 to the next row, whose own neighbours do not count."""
        tf = get_runtime().tf
        img = np.array([[1, 4, 2], [3, 0, 5]], np.float32)[np.newaxis, :, :, np.newaxis]
        found = evaluate(lambda: costs.squares_of_neighbours(tf.constant(img[:, :1]), tf.constant(img)))
        assert found == 9 + 4 + 4 + 16 + 9


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="not 1, 1 and 2"):
        costs.style_cost([A], [B], [1, 1])


def test_total_cost(evaluate):
    tf = get_runtime().tf
    content, style, tv = 3.0, 5.0, 7.0
    assert evaluate(lambda: costs.total_cost(tf.constant(content), tf.constant(style), 10, 40)) == 230
    with_tv = evaluate(lambda: costs.total_cost(*map(tf.constant, (content, style)), 10, 40, tf.constant(tv), 0.5))
    assert with_tv == 233.5
