"""Starts real Dask clusters for tests: a scheduler and workers are processes of their own, with TCP on this machine.

    with started_cluster(tmp_path, workers=2) as cluster:
        run("--scheduler", cluster.address)
        cluster.kill_worker(cluster.workers()[0])

What they print goes to files in the folder, which are shown if the test fails. They end with the block, and also if
the tests themselves are killed. Environment variables (OMP_NUM_THREADS, TF_...) are passed on. Needs `distributed`
and a POSIX system.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import dask.config
import distributed

from tests import ROOT

#: Seconds until a scheduler or a worker must be there. On two cores it takes 0.3 to 1.5 s.
LIMIT = 60
#: Dask's commands have other names in each version; these functions do not. When the tests end, so does standard input.
PROGRAM = """
import os, signal, threading

def end_with_the_tests():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=end_with_the_tests, daemon=True).start()
from distributed.cli.dask_{} import main
main()
"""

#: address: where the worker listens, tcp://127.0.0.1:PORT; pid: of the process that does the tasks, not of its nanny.
Worker = collections.namedtuple("Worker", "address pid")


class Cluster:
    """A scheduler and its workers; `started_cluster` makes one.

    Attributes
    ----------
    address : str
        The scheduler's address, tcp://127.0.0.1:PORT or tls://127.0.0.1:PORT.
    scheduler_file : pathlib.Path
        Dask's file with this address.
    """

    def __init__(self, folder, environment):
        self._folder = folder
        self._environment = dict(os.environ, PYTHONPATH=str(ROOT), **environment)
        self._processes = {}
        self.scheduler_file = folder / "scheduler.json"
        self.address = None

    def start_scheduler(self, protocol="tcp"):
        """Start the scheduler and wait until it listens."""
        words = ["--host=127.0.0.1", "--port=0", f"--protocol={protocol}", f"--scheduler-file={self.scheduler_file}"]
        # Without the dashboard Dask still opens a port for its pages, 8787 if it is not told otherwise.
        process = self._start("scheduler", "scheduler", [*words, "--no-dashboard", "--dashboard-address=127.0.0.1:0"])
        self.address = _wait(self._read_address, process, "the scheduler does not listen")

    def start_worker(self, threads=1, nanny=False, environment=None):
        """Start a worker, wait until the scheduler knows it, and return it.

        Parameters
        ----------
        threads : int
            How many tasks Dask lets it do at a time.
        nanny : bool
            Whether a second process starts it again when it dies, at another address.
        environment : dict
            More environment variables, of this worker alone.
        """
        name = f"worker{len(self._processes)}"
        words = [self.address, f"--nthreads={threads}", "--nanny" if nanny else "--no-nanny", "--no-dashboard"]
        words += ["--memory-limit=0", f"--local-directory={self._folder / name}"]
        with self._client() as client:
            before = set(client.nthreads())
            process = self._start(name, "worker", words, environment)
            address = _wait(lambda: next(iter(set(client.nthreads()) - before), None), process, f"{name} is not there")
            return Worker(address, client.run(os.getpid, workers=[address])[address])

    def workers(self):
        """Return the workers that the scheduler knows, a list of Worker."""
        with self._client() as client:
            return [Worker(address, pid) for address, pid in client.run(os.getpid).items()]

    def kill_worker(self, worker):
        """Kill a worker's process by SIGKILL. The scheduler notices it in less than 0.1 s."""
        os.kill(worker.pid, signal.SIGKILL)

    def kill_scheduler(self):
        """Kill the scheduler by SIGKILL."""
        self._processes["scheduler"].kill()
        self._processes["scheduler"].wait()

    def output(self):
        """Return what the processes have printed."""
        paths = sorted(self._folder.glob("*.out"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')}" for path in paths)

    def close(self):
        """End all processes, also those that nannies have started."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdin.close()

    def _start(self, name, command, words, environment=None):
        with open(str(self._folder / f"{name}.out"), "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(command), *words],
                cwd=str(self._folder),
                env=dict(self._environment, **(environment or {})),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[name] = process
        return process

    def _client(self):
        # The variables may hold the cluster's certificates.
        settings = dask.config.merge(dask.config.config, dask.config.collect_env(self._environment))
        with dask.config.set(settings):
            return distributed.Client(self.address, timeout=LIMIT, set_as_default=False)

    def _read_address(self):
        try:
            return json.loads(self.scheduler_file.read_text())["address"]
        except (OSError, ValueError):  # not there yet, or not whole
            return None


def _wait(find, process, failure):
    """Return what `find` finds, as soon as that is something, while a process runs."""
    end = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < end:
        found = find()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{failure} (exit status {process.poll()})")


@contextlib.contextmanager
def started_cluster(folder, workers=2, threads=1, nanny=False, protocol="tcp", environment=None):
    """Run a scheduler and workers as long as the block; yield a Cluster.

    Parameters
    ----------
    folder : pathlib.Path
        Where the processes run and what they print is kept. One cluster, one folder.
    workers : int
        Number of worker processes; 0 for a scheduler alone.
    threads, nanny
        As in `Cluster.start_worker`.
    protocol : {"tcp", "tls"}
        TLS needs `environment=tls_environment(folder)`.
    environment : dict
        More environment variables, of all processes.
    """
    cluster = Cluster(folder, environment or {})
    try:
        cluster.start_scheduler(protocol)
        for _ in range(workers):
            cluster.start_worker(threads, nanny)
        yield cluster
    except BaseException:
        print(cluster.output(), file=sys.stderr)
        raise
    finally:
        cluster.close()


def tls_environment(folder):
    """Make a certificate by the command openssl; return the variables with which all of Dask's processes use it."""
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=nst_graph"]
    command = ["openssl", "req", *words, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    variables = {prefix + "CA_FILE": certificate}
    for who in ("CLIENT", "SCHEDULER", "WORKER"):
        variables.update({f"{prefix}{who}__CERT": certificate, f"{prefix}{who}__KEY": key})
    return variables
