"""A graph and its session, with Keras's VGG-19 in it once. Objectives of any number of sizes share it."""

import contextlib
import logging
from typing import Any, Dict, Iterator, Optional, Tuple

from nst_graph import precision
from nst_graph.network import layer_outputs, load_vgg19, put_weights
from nst_graph.runtimes import get_runtime
from nst_graph.weights import Weights

logger = logging.getLogger(__name__)


class NetworkSession:
    """The network in a session: a context manager that closes the session at the end.

    Parameters
    ----------
    weights : Weights
        Of VGG-19, from `nst_graph.weights.find_weights`.
    bfloat16 : bool
        Whether the network computes in bfloat16, see `nst_graph.precision`.
    threads : int, optional
        TensorFlow's threads, see `nst_graph.runtimes.Runtime.session_config`.

    Attributes
    ----------
    session : tf.Session
        Holds the graph.
    vgg_model : keras.Model
        From `nst_graph.network.load_vgg19`.
    bfloat16 : bool
        As given.

    Raises
    ------
    RuntimeMissingError
        If TensorFlow is not available.
    """

    def __init__(self, weights: Weights, bfloat16: bool = False, threads: Optional[int] = None) -> None:
        self.bfloat16 = bfloat16
        if bfloat16 and precision.no_help():
            logger.warning("bfloat16 will not help: %s", precision.no_help())
        self._weights, self._threads = weights, threads
        self._runtime = get_runtime()
        with contextlib.ExitStack() as stack:
            self.session = self._open(stack, bfloat16)
            with self.building():
                self.vgg_model = load_vgg19(weights)
            self._resources = stack.pop_all()
        self._float32: Any = None
        self._any_size: Dict[str, Tuple[Any, Dict[int, Any]]] = {}

    def _open(self, stack: contextlib.ExitStack, bfloat16: bool, graph: Any = None) -> Any:
        config = self._runtime.session_config(self._threads, bfloat16)
        return stack.enter_context(contextlib.closing(self._runtime.new_session(config, graph)))

    def __enter__(self) -> "NetworkSession":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the session. The graph is freed when nothing refers to it any more."""
        self._resources.close()
        self._runtime.forget(self.session.graph)

    @contextlib.contextmanager
    def building(self) -> Iterator[Any]:
        """Enter the graph to add operations. `finalize` ends this.

        Outside, a process notices nothing of the graph: the minutes of training need only the session.

        Yields
        ------
        module
            The namespace of TensorFlow 1.
        """
        with self._runtime.scope(self.session):
            yield self._runtime.tf

    def finalize(self) -> None:
        """Close the graph: from here on, whatever would add an operation to it raises RuntimeError."""
        self.session.graph.finalize()

    def reopen(self) -> None:
        """Let operations be added again, for a picture of another size."""
        self._runtime.reopen(self.session.graph)

    def outputs_of_any_size(self, pooling: str) -> Tuple[Any, Dict[int, Any]]:
        """Return the network on a picture of any size; it is built at the first call, which is in `building`.

        Parameters
        ----------
        pooling : str
            `avg` or `max`, see `nst_graph.network.layer_outputs`.

        Returns
        -------
        picture : tf.Tensor
            Placeholder, float32 (1, h, w, 3).
        outputs : dict
            See `nst_graph.network.layer_outputs`.
        """
        if pooling not in self._any_size:
            tf = self._runtime.tf
            with tf.name_scope("other_size/"):
                picture = tf.placeholder(tf.float32, (1, None, None, 3), name="picture")
            self._any_size[pooling] = picture, layer_outputs(picture, self.vgg_model, pooling)
        return self._any_size[pooling]

    @property
    def float32(self) -> Any:
        """A session that computes the same graph in float32: `session`, or where that has bfloat16, a second one.

        The second one has variables of its own. Those of the network have the same values.
        """
        if not self.bfloat16:
            return self.session
        if self._float32 is None:
            self._float32 = self._open(self._resources, False, self.session.graph)
            with self._runtime.scope(self._float32):  # a variable's placeholder is not told in eager mode
                put_weights(self.vgg_model, self._weights, self._float32)
        return self._float32
