"""The TF2 plugin: the TensorFlow 1 graph on TensorFlow 2, through `tf.compat.v1` and Keras 2.

The host program keeps its eager mode, its Keras and its models. This module does not call `disable_eager_execution` or
`disable_v2_behavior` and does not set TF_USE_LEGACY_KERAS: all of these change the whole process.
"""

import contextlib
import importlib
import random
import sys
import threading
from typing import Any, Dict, Iterator, Optional

from nst_graph.runtimes import Installed, Runtime, release

#: From this release on, `tf.keras` is Keras 3, which has no graph sessions.
_KERAS_3 = (2, 16)
#: The oldest release that this plugin was tested with.
_OLDEST = (2, 15)


class TF2CompatRuntime(Runtime):
    """TensorFlow 2 with Keras 2: its own Keras up to 2.15, the package tf-keras from 2.16 on."""

    name = "tf2"

    # Keras changes the bases of its classes during the construction of a v1 graph, so only one thread may build.
    _lock = threading.RLock()

    def __init__(self) -> None:
        import tensorflow.compat.v1 as tf

        self._bases_in_graphs: Dict[type, Any] = {}
        self.tf = tf
        if release(tf.__version__) < _KERAS_3:
            self.keras = tf.keras
        else:
            # Only this import works both before and after an import of TensorFlow and does not change the host's
            # `tf.keras`. The module is generated and may change, so a test checks it.
            self.keras = importlib.import_module("tf_keras.api._v1.keras")

    @classmethod
    def why_not(cls, installed: Installed) -> Optional[str]:  # noqa: D102 - as Runtime
        if installed.tensorflow is None:
            return "TensorFlow is not installed"
        version = release(installed.tensorflow)
        if version[0] != 2:
            return f"it serves TensorFlow 2, and {installed.tensorflow} is installed"
        if version < _OLDEST:
            return 'TensorFlow {} is too old for it: pip install "tensorflow>={}.{},<3"'.format(
                installed.tensorflow, *_OLDEST
            )
        remedy = 'pip install "tf-keras=={}.{}.*"'.format(*version)
        if version >= _KERAS_3 and installed.tf_keras is None:
            return f"TensorFlow {installed.tensorflow} needs the package tf-keras: {remedy}"
        if version >= _KERAS_3 and release(str(installed.tf_keras)) != version:
            return f"tf-keras {installed.tf_keras} does not go with TensorFlow {installed.tensorflow}: {remedy}"
        return None

    @contextlib.contextmanager
    def scope(self, session: Any) -> Iterator[None]:  # noqa: D102 - as Runtime
        with self._lock, self._bases_restored(), self._seeds_apart(), session.graph.as_default(), session.as_default():
            yield

    @contextlib.contextmanager
    def _bases_restored(self) -> Iterator[None]:
        """Restore the bases of Keras's classes, which the construction of a v1 graph changes.

        A Keras 2 layer that is created in a v1 graph replaces the v2 base of its class by the v1 base, for the whole
        process. After that the host could no longer call its eager models, train them or predict with them. A layer of
        an earlier scope needs its bases again when it is called.
        """
        before: Dict[type, Any] = {}
        root = self.keras.layers.Layer
        for base in root.__mro__:
            if base.__module__.split(".")[0] == root.__module__.split(".")[0]:
                before.update((cls, cls.__bases__) for cls in _subclasses(base))
        for cls, bases in self._bases_in_graphs.items():
            cls.__bases__ = bases
        try:
            yield
        finally:
            for cls, bases in before.items():
                if cls.__bases__ != bases:
                    self._bases_in_graphs[cls] = cls.__bases__
                    cls.__bases__ = bases

    @contextlib.contextmanager
    def _seeds_apart(self) -> Iterator[None]:
        """Give Keras's initialisers their own generator of seeds.

        Otherwise they would use Python's global generator or, after `keras.utils.set_random_seed`, Keras's generator,
        and this would change the host's next random numbers. Keras has no public name for its generator, so a test
        checks this.
        """
        local = sys.modules[self.keras.backend.get_session.__module__]._SEED_GENERATOR
        before = getattr(local, "generator", None)
        local.generator = random.Random(0)
        try:
            yield
        finally:
            local.generator = before


def _subclasses(cls: type) -> Iterator[type]:
    subclass: type
    for subclass in type.__subclasses__(cls):
        yield subclass
        yield from _subclasses(subclass)
