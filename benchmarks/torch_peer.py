"""The article's mathematics in PyTorch, as a PyTorch user would write it. PyTorch is not imported before `load`."""

# ruff: noqa: D102 - the methods are those of Peer

import contextlib

from benchmarks.peers import Peer, images
from nst_graph.settings import Settings
from nst_graph.vgg19 import LAYERS


class Torch(Peer):
    """VGG-19 with average pools, the article's costs, Adam. In bfloat16 the network runs under autocast."""

    apart = True

    def load(self):
        import torch

        self.torch = torch

    def build(self, weights):
        self.settings = Settings()
        arrays = [self.torch.from_numpy(array.copy()) for array in weights.arrays]
        self.kernels = [kernel.permute(3, 2, 0, 1).contiguous() for kernel in arrays[::2]]
        self.biases = arrays[1::2]

    def start(self):
        self.begin(*images(self.size))

    def begin(self, *imgs):
        """Compute the targets of content and style; begin with the third image: float32 (1, h, w, 3), preprocessed."""
        content, style, start = (self.torch.from_numpy(img).permute(0, 3, 1, 2).contiguous() for img in imgs)
        with self.torch.no_grad():
            self.content = self.features(content)[self.settings.content_layer_index]
            of_style = self.features(style)
            self.grams = [self.gram(of_style[index]) for index in self.settings.style_layer_indices]
        self.image = start.requires_grad_()
        self.adam = self.torch.optim.Adam([self.image], lr=self.settings.learning_rate)

    def features(self, x):
        """Return the activations of every layer up to the deepest of the costs, by index, as float32."""
        functional, found = self.torch.nn.functional, {}
        parameters = iter(zip(self.kernels, self.biases))
        in_bfloat16 = self.torch.autocast("cpu", self.torch.bfloat16)
        with in_bfloat16 if self.precision == "bfloat16" else contextlib.nullcontext():
            for index in range(1, self.settings.deepest_layer + 1):
                if LAYERS[index].is_convolution:
                    x = functional.conv2d(x, *next(parameters), padding=1).relu_()
                else:
                    # The last row of an odd height has pools of its own, as in TensorFlow.
                    x = functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
                found[index] = x
        wanted = (self.settings.content_layer_index, *self.settings.style_layer_indices)
        return {index: found[index].float() for index in wanted}

    @staticmethod
    def gram(activations):
        """Return the Gram matrix, (n_c, n_c), of activations (1, n_c, n_h, n_w)."""
        rows = activations[0].flatten(1)
        return rows @ rows.T

    def costs(self):
        """Return content, style and total cost of the image, as tensors."""
        settings, found = self.settings, self.features(self.image)
        content = (self.content - found[settings.content_layer_index]).square().mean() / 4
        style = 0
        for index, coefficient, target in zip(
            settings.style_layer_indices, settings.style_layer_coefficients, self.grams
        ):
            squares = (target - self.gram(found[index])).square().sum()
            style = style + coefficient * squares / (4 * found[index].numel() ** 2)
        return content, style, settings.alpha * content + settings.beta * style

    def step(self):
        self.adam.zero_grad()
        costs = self.costs()
        costs[-1].backward()
        self.adam.step()
        return [cost.item() for cost in costs]
