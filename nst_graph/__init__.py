"""Neural style transfer as a TensorFlow 1 graph that runs on today's TensorFlow.

Importing the package imports neither TensorFlow nor OpenCV: the public names below are resolved when they are first
used. The data go through the modules in this order: `images`, `inputs`, `weights`, `runtimes`, `network`, `costs`,
`targets`, `objective`, `optimisers`, `transfer`. `observers` watch a run.
"""

import importlib
from typing import Any, List

__version__ = "0.1.0"

_HOMES = {
    "Adam": "optimisers",
    "CheckpointError": "errors",
    "ClusterError": "errors",
    "CostName": "costs",
    "Costs": "costs",
    "DivergenceError": "errors",
    "DownloadError": "errors",
    "Job": "painter",
    "LBFGS": "optimisers",
    "NSTGraphError": "errors",
    "Objective": "objective",
    "Observer": "observers",
    "OutputError": "errors",
    "PictureError": "errors",
    "Progress": "observers",
    "Result": "painter",
    "Run": "observers",
    "RuntimeMissingError": "errors",
    "SettingError": "errors",
    "Settings": "settings",
    "Stage": "transfer",
    "State": "checkpoint",
    "Style": "inputs",
    "Targets": "targets",
    "Transfer": "transfer",
    "Weights": "weights",
    "WeightsError": "errors",
    "content_cost": "costs",
    "create_noisy_img": "images",
    "create_output_tensors": "network",
    "find_weights": "weights",
    "get_runtime": "runtimes",
    "gram_matrix": "costs",
    "load_img": "images",
    "save_img": "images",
    "style_cost": "costs",
    "stylize": "transfer",
    "stylize_many": "batch",
    "total_cost": "costs",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> List[str]:
    return sorted(list(globals()) + __all__)
