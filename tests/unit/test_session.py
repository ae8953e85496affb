"""A session with the network in it, which objectives of several sizes share."""

import numpy as np
import pytest

from nst_graph.objective import Objective
from nst_graph.optimisers import Adam
from nst_graph.runtimes import get_runtime
from nst_graph.session import NetworkSession
from nst_graph.settings import Settings
from nst_graph.transfer import Transfer

SIZES = [(37, 27), (18, 14)]
PICTURES = np.random.RandomState(0).randint(0, 256, (2, 40, 50, 3)).astype(np.uint8)


def images_of(size):
    rng = np.random.RandomState(sum(size))
    return [rng.uniform(-120, 140, (1, size[1], size[0], 3)).astype(np.float32) for _ in range(3)]


def steps_of(objective):
    """Return costs and image of two steps of Adam."""
    adam = Adam(objective, 2.0)
    images = images_of(objective.size)
    objective.take(objective.targets(*images[:2]))
    objective.set_image(images[2])
    adam.reset()
    return [adam.step() for _ in range(2)], objective.image()


def names(session, kinds):
    return [op.name for op in session.graph.get_operations() if op.type in kinds]


def test_objectives_that_share_a_session_compute_what_each_computes_alone(settings, vgg_weights):
    found = []
    with NetworkSession(vgg_weights) as network:
        for size in SIZES:
            with Objective(size, settings, network, scope="{}x{}".format(*size)) as objective:
                found.append(steps_of(objective))
                assert network.session.graph.finalized
        assert objective.session is network.session
    for size, (costs, image) in zip(SIZES, found):
        with Objective(size, settings, vgg_weights) as alone:
            expected_costs, expected_image = steps_of(alone)
        assert costs == expected_costs
        np.testing.assert_array_equal(image, expected_image)


def test_the_network_is_in_the_graph_once(settings, vgg_weights):
    kinds = ("VarHandleOp", "VariableV2")
    with NetworkSession(vgg_weights) as network:
        variables = names(network.session, kinds)
        assert len(variables) == 32  # kernel and bias of 16 convolutions
        for size in SIZES:
            Objective(size, settings, network, scope="{}x{}".format(*size))
        assert names(network.session, kinds) == [*variables, "37x27/input_var", "18x14/input_var"]


def test_a_scope_is_what_all_names_of_an_objective_begin_with(settings, vgg_weights):
    with NetworkSession(vgg_weights) as network:
        before = set(network.session.graph.get_operations())
        objective = Objective((18, 14), Settings(size=18, tv_weight=1), network, 2, scope="small")
        Adam(objective, 2.0)
        added = [op.name for op in network.session.graph.get_operations() if op not in before]
    assert objective.scope == "small/"
    assert not [name for name in added if not name.startswith(("small/", "other_size/", "block", "keras"))]
    # The network for styles of another size is shared by all.
    assert [name for name in added if name.startswith("other_size/")] == ["other_size/picture"]


def test_a_state_of_adam_does_not_depend_on_the_scope(settings, vgg_weights):
    with Objective((18, 14), settings, vgg_weights, scope="small") as objective:
        adam = Adam(objective, 2.0)
        adam.reset()
        assert sorted(adam.state()) == ["input_var/Adam", "input_var/Adam_1", "train/beta1_power", "train/beta2_power"]


@pytest.mark.parametrize("size", [(37, 27), 37])
def test_a_run_of_several_stages_loads_the_network_once(vgg_weights, monkeypatch, size):
    made = []
    new_session = get_runtime().new_session
    monkeypatch.setattr(get_runtime(), "new_session", lambda *args: made.append(args) or new_session(*args))
    with Transfer(Settings(size=size, start_size=10, iterations=2, seed=0), vgg_weights) as transfer:
        transfer.start(*PICTURES)
        assert [stage.size[0] for stage in transfer.stages] == [10, 20, 37]
        list(transfer.steps())
        assert len(made) == 1
        # Another picture of the same size adds nothing.
        operations = len(transfer.objective.session.graph.get_operations())
        transfer.start(*reversed(PICTURES))
        list(transfer.steps())
        assert len(transfer.objective.session.graph.get_operations()) == operations and len(made) == 1


def test_pictures_of_other_sizes_share_the_session_too(vgg_weights, monkeypatch):
    made = []
    new_session = get_runtime().new_session
    monkeypatch.setattr(get_runtime(), "new_session", lambda *args: made.append(args) or new_session(*args))
    found = []
    tall = [picture.swapaxes(0, 1) for picture in PICTURES]
    with Transfer(Settings(size=30, iterations=2, seed=0), vgg_weights) as transfer:
        for pictures in (PICTURES, tall, PICTURES):
            transfer.start(*pictures)
            list(transfer.steps())
            assert transfer.objective.session.graph.finalized
            found.append(transfer.picture())
        assert len(made) == 1
    assert [picture.shape for picture in found] == [(24, 30, 3), (30, 24, 3), (24, 30, 3)]
    np.testing.assert_array_equal(found[0], found[2])
    with Transfer(Settings(size=30, iterations=2, seed=0), vgg_weights) as alone:
        alone.start(*tall)
        list(alone.steps())
        np.testing.assert_array_equal(found[1], alone.picture())


def test_the_full_size_has_the_articles_names(vgg_weights):
    with Transfer(Settings(size=(37, 27), start_size="half", iterations=2, seed=0), vgg_weights) as transfer:
        transfer.start(*PICTURES)
        roots = transfer.run_info().roots
    assert [root.name.split("/")[0] for root in roots] == ["input_var", "total_cost", "train"]


def test_configuration_of_a_session():
    runtime = get_runtime()
    assert runtime.session_config().gpu_options.allow_growth
    config = runtime.session_config(threads=3)
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (3, 3)
    assert config.gpu_options.allow_growth
    assert runtime.session_config().intra_op_parallelism_threads == 0  # one for each core


def test_threads_of_the_settings_reach_the_session(vgg_weights, monkeypatch):
    asked, session_config = [], get_runtime().session_config
    monkeypatch.setattr(get_runtime(), "session_config", lambda *args: asked.append(args) or session_config(*args))
    with Transfer(Settings(size=(18, 14), threads=1, iterations=0), vgg_weights) as transfer:
        transfer.start(*PICTURES)
    assert asked == [(1, False)]
