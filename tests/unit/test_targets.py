"""Targets against numbers worked out by hand. The comparison with the float64 version is in tests/reference."""

import numpy as np
import pytest

from nst_graph import targets


def arrays(*nested):
    return tuple(np.array(array, np.float32) for array in nested)


def test_style_target_is_each_layers_gram_matrix():
    # Channels (1, 3) and (2, 4), and one channel (5, 6, 7).
    layers = arrays([[[[1, 2], [3, 4]]]], [[[[5]], [[6]], [[7]]]])
    first, second = targets.style_target(layers)
    assert first.tolist() == [[10, 14], [14, 20]]
    assert second.tolist() == [[110]]
    assert first.dtype == second.dtype == np.float32


class TestForPositions:
    GRAMS = arrays([[8, 2], [2, 4]], [[3]])

    def test_a_gram_matrix_grows_with_the_number_of_positions(self):
        # Of 16 positions for 4: a quarter. Of 2 for 5: two and a half times.
        first, second = targets.for_positions(self.GRAMS, [16, 2], [4, 5])
        assert first.tolist() == [[2, 0.5], [0.5, 1]]
        assert second.tolist() == [[7.5]]
        assert first.dtype == second.dtype == np.float32

    def test_the_same_number_changes_nothing(self):
        for found, given in zip(targets.for_positions(self.GRAMS, [7, 3], [7, 3]), self.GRAMS):
            np.testing.assert_array_equal(found, given)


class TestBlended:
    def test_it_is_the_weighted_mean_of_each_layer(self):
        styles = [arrays([[4, 0], [0, 8]], [[1]]), arrays([[0, 2], [2, 4]], [[5]])]
        first, second = targets.blended(styles, [0.75, 0.25])
        assert first.tolist() == [[3, 0.5], [0.5, 7]]
        assert second.tolist() == [[2]]
        assert first.dtype == second.dtype == np.float32

    def test_one_style_stays_as_it_is_to_the_last_bit(self):
        style = arrays([[0.1, 0.7], [0.7, 1e9]])
        assert targets.blended([style], [1.0]) is style

    def test_equal_styles_blend_to_themselves(self):
        style = arrays([[4, 1], [1, 8]])
        np.testing.assert_array_equal(targets.blended([style, style], [0.5, 0.5])[0], style[0])

    def test_what_it_costs_against_an_image_differs_from_the_styles_costs_by_a_constant(self):
        """The sum of w_k |G - T_k|^2 minus |G - T|^2 is sum w_k |T_k|^2 - |T|^2 for every G."""
        rng = np.random.RandomState(0)
        styles = [(rng.randint(0, 9, (3, 3)).astype(np.float32),) for _ in range(3)]
        weights = [0.5, 0.25, 0.25]
        (blend,) = targets.blended(styles, weights)
        constants = []
        for _ in range(2):
            gram = rng.randint(0, 9, (3, 3))
            squares = [np.sum((gram - style[0]) ** 2) for style in styles]
            constants.append(np.dot(weights, squares) - np.sum((gram - blend) ** 2))
        assert constants[0] == pytest.approx(constants[1], rel=1e-6)
        assert constants[0] > 1


class TestPositionWeights:
    def test_masks_are_divided_by_their_mean(self):
        # Means 0.25 and 0.5; positions go row by row.
        masks = arrays([[1, 0, 0], [0, 0.5, 0]], [[0, 1, 0.5], [1, 0.25, 0.25]])
        found = targets.position_weights(masks)
        assert found.dtype == np.float32 and found.shape == (2, 6, 1)
        assert found[:, :, 0].tolist() == [[4, 0, 0, 0, 2, 0], [0, 2, 1, 2, 0.5, 0.5]]

    def test_white_counts_1_everywhere_whatever_the_shade(self):
        for shade in (1, 0.3, 1e-6):
            np.testing.assert_array_equal(targets.position_weights([np.full((3, 5), shade, np.float32)]), 1)

    def test_a_mask_of_almost_nothing_still_adds_up_to_the_number_of_positions(self):
        mask = np.zeros((40, 50), np.float32)
        mask[3, 4] = np.finfo(np.float32).tiny
        found = targets.position_weights([mask])
        assert np.isfinite(found).all()
        assert found.sum(dtype=np.float64) == pytest.approx(2000, rel=1e-6)
