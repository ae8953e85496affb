"""Training on images of a test's own choice, preprocessed already: an objective with Adam."""

from nst_graph.objective import Objective
from nst_graph.optimisers import Adam


class Training:
    """The article's training, ready for its first step: a context manager.

    Parameters
    ----------
    images : sequence of ndarray
        Content, style and start, float32 (1, h, w, 3).
    settings : Settings
        Layers, weights of the costs, learning rate.
    weights : Weights
        Of VGG-19.
    """

    def __init__(self, images, settings, weights):
        self._images, self._settings, self._weights = images, settings, weights

    def __enter__(self):
        content_img, style_img, start_img = self._images
        _, height, width, _ = content_img.shape
        self.objective = Objective((width, height), self._settings, self._weights)
        self.adam = Adam(self.objective, self._settings.learning_rate)
        self.objective.take(self.objective.targets(content_img, style_img))
        self.objective.set_image(start_img)
        self.adam.reset()
        self.session, self.input_var = self.objective.session, self.objective.input_var
        self.roots = [self.objective.assign, *self.adam.operations, self.objective.costs.total.op]
        self.step, self.costs, self.image = self.adam.step, self.objective.evaluate, self.objective.image
        return self

    def __exit__(self, *exception):
        self.objective.close()


def printed(costs):
    """Return the three costs that the article prints: content, style, total."""
    return [costs.content, costs.style, costs.total]
