"""Run docs/article.ipynb from top to bottom, and keep only the final picture of its outputs.

    python docs/make_notebook.py

Run it from the project's folder after a change of the notebook, with `pip install -e ".[kernel]"`. It takes two
minutes on two cores.
"""

import os
import pathlib
import tempfile
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path("docs/article.ipynb")

#: All that the committed notebook says of the kernel that runs it.
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def run(notebook: Any, folder: pathlib.Path) -> None:
    """Run a notebook's cells with this Python. Their outputs are in it afterwards.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        It is changed.
    folder : path
        The working directory of its first cell.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    with tempfile.TemporaryDirectory() as own:
        # Without folders to look in, `python3` is this Python, and no kernel of that name that somebody has installed.
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        if os.name == "posix":
            # Not by TCP: two programs that start kernels at the same time can choose the same port.
            manager.transport, manager.ip = "ipc", os.path.join(own, "kernel")
        client = NotebookClient(notebook, km=manager, timeout=1800, resources={"metadata": {"path": str(folder)}})
        # Without the user's own settings and start-up files of IPython.
        client.execute(cleanup_kc=True, env={**os.environ, "IPYTHONDIR": own})


def stripped(notebook: Any) -> Any:
    """Return a notebook as it is committed: without outputs, execution counts and metadata.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        It is not changed.

    Returns
    -------
    nbformat.NotebookNode
        The last code cell keeps its JPEG picture, and the notebook keeps the name of its kernel.
    """
    notebook = nbformat.from_dict({**notebook, "metadata": METADATA})
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    picture = code[-1].outputs[-1].data["image/jpeg"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    code[-1].outputs = [nbformat.v4.new_output("display_data", {"image/jpeg": picture})]
    return notebook


def main() -> None:
    """Run the notebook and write it back."""
    notebook = nbformat.read(str(NOTEBOOK), as_version=4)
    run(notebook, NOTEBOOK.parent)
    nbformat.write(stripped(notebook), str(NOTEBOOK))


if __name__ == "__main__":
    main()
