"""A batch on a real Dask cluster: a scheduler and workers with TCP on this machine, which are killed on the way."""

import glob
import itertools
import json
import os
import socket
import threading
import time

import cv2
import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

from nst_graph import cluster as nst_cluster  # noqa: E402
from nst_graph.batch import Job, stylize_many  # noqa: E402
from nst_graph.cli import main  # noqa: E402
from nst_graph.errors import ClusterError, PictureError, SettingError  # noqa: E402
from nst_graph.weights import random_weights  # noqa: E402
from tests.end_to_end.clusters import started_cluster  # noqa: E402

#: One thread each: the bits of a sum may depend on their number.
CONSTANTS = {
    **{"size": 24, "iterations": 4, "seed": 0, "threads": 1},
    **{"content_layers": "conv1_2", "style_layers": "conv1_1,conv2_1"},
}


def noise(seed, *shape):
    return np.random.RandomState(seed).randint(0, 256, (*shape, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with started_cluster(tmp_path_factory.mktemp("cluster"), workers=2, threads=1) as cluster:
        yield cluster


def in_workers(cluster, function, workers=None):
    """Call a function in each worker, or in those that are named; return what it returns by address."""
    with distributed.Client(cluster.address, set_as_default=False) as client:
        return client.run(function, workers=workers)


def _sent_by_value():
    def count_style_targets():
        from nst_graph.objective import Objective

        original, Objective.counted = Objective.style_target, []

        def style_target(self, img):
            Objective.counted.append(self.size)
            return original(self, img)

        Objective.style_target = style_target

    def counted():
        from nst_graph.objective import Objective

        return Objective.counted

    return count_style_targets, counted


def _busy():
    def busy():
        from nst_graph import cluster

        return cluster._lock.locked()

    return busy


def test_twelve_pictures_and_a_worker_that_is_killed(cluster, tmp_path, caplog):
    # Let both have TensorFlow and a graph: otherwise one makes all pictures before the other has begun.
    begun = stylize_many(
        itertools.repeat((noise(9, 30, 40), noise(20, 15, 20))),
        weights=random_weights(),
        scheduler=cluster.address,
        **CONSTANTS,
    )
    workers = set()
    while len(workers) < 2:
        workers.add(next(begun).worker)
    begun.close()
    count_style_targets, counted = _sent_by_value()
    in_workers(cluster, count_style_targets)
    # A file goes along with its bytes, also where the workers work in other folders.
    cv2.imwrite(str(tmp_path / "style.png"), noise(20, 50, 60))
    jobs = [
        *itertools.product(
            [noise(seed, 30, 40) for seed in range(6)], [str(tmp_path / "style.png"), noise(21, 40, 40)]
        ),
        (str(tmp_path / "missing.png"), noise(20, 50, 60)),
        (noise(0, 30, 40), noise(20, 50, 60), {"alpha": -1}),
    ]
    made, killed = {}, None
    for result in stylize_many(iter(jobs), weights=random_weights(), scheduler=cluster.address, **CONSTANTS):
        assert result.number not in made and result.job.content is jobs[result.number][0]
        made[result.number] = result
        delivered = {result.worker for result in made.values() if result.worker}
        if killed is None and len(made) >= 4 and len(delivered) == 2:
            # The other one is at a picture, or has just finished one that nobody has fetched.
            (killed,) = (worker for worker in cluster.workers() if worker.address != result.worker)
            cluster.kill_worker(killed)
    assert len(made) == 14
    told = f"the worker {killed.address} is gone; its picture is made again"
    assert told in [record.getMessage() for record in caplog.records]
    assert isinstance(made[12].error, PictureError) and isinstance(made[13].error, SettingError)
    for alone in stylize_many(jobs[:12], weights=random_weights(), **CONSTANTS):
        found = made[alone.number]
        np.testing.assert_array_equal(found.picture, alone.picture)
        assert found.history == alone.history and found.record == alone.record and found.carried == alone.carried
    # Two styles, one size.
    assert in_workers(cluster, counted) == {(delivered - {killed.address}).pop(): [(24, 18), (24, 18)]}


def test_a_worker_that_comes_later_without_nst_graph_gets_nothing_and_a_stopped_batch_frees_the_others(
    cluster, tmp_path, caplog
):
    (tmp_path / "nst_graph").mkdir()
    (tmp_path / "nst_graph/__init__.py").write_text("raise ModuleNotFoundError('no such module here')")
    jobs = [Job(noise(seed, 30, 40), noise(20, 50, 60), {"iterations": 10**6 if seed else 1}) for seed in range(2)]
    stopped = threading.Event()
    with caplog.at_level("WARNING", "nst_graph"):
        others = [worker.address for worker in cluster.workers()]
        bare = cluster.start_worker(environment={"PYTHONPATH": str(tmp_path)})
        results = stylize_many(
            jobs,
            weights=random_weights(),
            scheduler=cluster.address,
            stop=stopped.is_set,
            **{**CONSTANTS, "threads": 2},
        )
        assert next(results).error is None
        threading.Timer(1, stopped.set).start()
        assert list(results) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"the worker {bare.address} gets no pictures: nst_graph is not installed there (no such module here)"
    ]
    # The million iterations are stopped too.
    end = time.monotonic() + 30
    while any(in_workers(cluster, _busy(), others).values()):
        assert time.monotonic() < end, "a worker is still at a picture that nobody wants"
        time.sleep(0.1)
    (result,) = stylize_many(jobs[:1], weights=random_weights(), scheduler=cluster.address, **CONSTANTS)
    assert result.error is None
    cluster.kill_worker(bare)


def test_a_picture_that_kills_its_workers_is_given_up(monkeypatch):
    class Client:
        status = "running"

    batch = nst_cluster._Batch(Client(), weights=random_weights(), threads=None, memory_check=True)
    monkeypatch.setattr(batch, "_send", lambda function, arguments, address, task, deaths: sent.append((task, deaths)))

    class Future:
        def cancel(self):
            sent.append("cancelled")

    sent = []
    task = nst_cluster.Task(Job(noise(0, 3, 3), noise(1, 3, 3)), 7, None)
    for deaths in range(4):
        key = f"key{deaths}"
        batch._sent[key] = nst_cluster._Sent("tcp://there", nst_cluster._paint, Future(), 0.0, task, deaths)
        batch._known.add("tcp://there")
        batch._forget("tcp://there")
        assert sent.pop() == "cancelled" and not batch._sent and not batch._known
        if deaths < 3:
            assert batch._again.popleft() == (task, deaths + 1) and not batch._failed
    (result,) = batch._failed
    assert (result.number, str(result.error)) == (
        7,
        "4 workers died or failed while they made it; is the memory too small?",
    )


def test_a_worker_that_fails_by_itself_gets_no_more_pictures(monkeypatch, caplog):
    """It would fail all of them, quicker than the others can make them."""
    client = type("Client", (), {"status": "running", "nthreads": lambda self: {"tcp://there": 1}})()
    batch = nst_cluster._Batch(client, weights=random_weights(), threads=None, memory_check=True)
    task = nst_cluster.Task(Job(noise(0, 3, 3), noise(1, 3, 3)), 7, None)
    batch._sent["key"] = nst_cluster._Sent("tcp://there", nst_cluster._paint, None, 0.0, task, 0)
    batch._known.add("tcp://there")
    monkeypatch.setattr(batch, "_fetched", lambda sent: (_ for _ in ()).throw(ImportError("no TensorFlow\nhere")))
    with caplog.at_level("WARNING", "nst_graph"):
        assert batch._take("key") is None and list(batch._again) == [(task, 1)] and not batch._idle
        batch._look_for_workers()
    assert [record.getMessage() for record in caplog.records] == [
        "the worker tcp://there gets no pictures: ImportError: no TensorFlow",
        "no worker of the cluster can make pictures; waiting for others",
    ]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for seed in range(6):
        cv2.imwrite(f"photos/{seed}.png", noise(seed, 30, 40))
    cv2.imwrite("style.png", noise(20, 50, 60))
    return tmp_path


WORDS = ["photos", "--style=style.png", "--output=out", "--weights=random"]
WORDS += [f"--{name.replace('_', '-')}={value}" for name, value in {**CONSTANTS, "iterations": 10}.items()]


def test_a_scheduler_that_dies_leaves_what_has_arrived_and_a_second_call_does_the_rest(
    cluster, photos, in_process, capfd
):
    def kill():
        while len(glob.glob("out/*.png")) < 2:
            time.sleep(0.01)
        cluster.kill_scheduler()

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(ClusterError) as caught:
        main(["batch", *WORDS, f"--scheduler={cluster.scheduler_file}"])
    thread.join()
    first = {name: os.stat(f"out/{name}").st_mtime_ns for name in os.listdir("out") if name != "batch.csv"}
    assert 2 <= len(first) < 6
    assert str(caught.value) == (
        f"the Dask scheduler does not answer any more; {6 - len(first)} of 6 pictures are not made yet; "
        "the same command goes on"
    )
    assert all(cv2.imread(f"out/{name}") is not None for name in first)
    assert "distributed" not in capfd.readouterr().err
    main(["batch", *WORDS])
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 6 - len(first) and f"{len(first)} of 6 pictures are there already" in err
    assert {name: os.stat(f"out/{name}").st_mtime_ns for name in first} == first and len(os.listdir("out")) == 7


def test_what_is_no_scheduler_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.json").write_text(json.dumps({}))
    with socket.socket() as silent, socket.socket() as closed:
        for one in (silent, closed):
            one.bind(("127.0.0.1", 0))
        silent.listen(1)
        for address, words in (
            (f"tcp://127.0.0.1:{closed.getsockname()[1]}", "no Dask scheduler can be reached at"),
            (f"127.0.0.1:{silent.getsockname()[1]}", "no Dask scheduler can be reached at"),
            ("somewhere", "missing port number"),
            ("foo://127.0.0.1:8786", "unknown address scheme"),
            ("", "the address of the scheduler is empty"),
            (str(tmp_path / "broken.json"), "the scheduler file"),
            (str(tmp_path / "empty.json"), "KeyError"),
            (str(tmp_path / "missing.json"), "No such file"),
        ):
            # Long enough for what answers at once, and not so long for what never does.
            monkeypatch.setattr(nst_cluster, "_PATIENCE", 0.3 if address.startswith(("127", "tcp")) else 10)
            results = stylize_many([("a.png", "b.png")], weights="random", scheduler=address)
            with pytest.raises(ClusterError) as caught:
                next(results)
            assert words in str(caught.value) and "\n" not in str(caught.value)
