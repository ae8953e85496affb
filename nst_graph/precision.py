"""Where bfloat16 is quicker than float32: what this TensorFlow and this processor can do. No TensorFlow is imported.

A bfloat16 has the range of a float32 and 8 bits of precision. The network's activations are in bfloat16 then; image,
Gram matrices and costs stay in float32.
"""

import os
import re

from nst_graph.errors import SettingError
from nst_graph.runtimes import installed, release

#: What Linux calls the instructions that multiply bfloat16 on x86 processors.
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}


def not_available() -> str:
    """Return why the installed TensorFlow cannot compute in bfloat16; "" if it can."""
    version = installed().tensorflow
    if version is None or release(version)[0] < 2:
        return f"TensorFlow {version} has no rewriter for it; TensorFlow 2.15 has one"
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return "TF_ENABLE_ONEDNN_OPTS=0 switches off the library that computes it"
    return ""


def no_help(processors: str = "/proc/cpuinfo") -> str:
    """Return why bfloat16 is not quicker on this processor; "" if it is.

    Parameters
    ----------
    processors : str
        Linux's description of the processors, for tests. Where there is none, nothing is known of the processor.
    """
    try:
        with open(processors, encoding="utf-8") as file:
            flags = re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE)
    except OSError:
        flags = None
    if flags is None or not _INSTRUCTIONS & set(flags.group(1).split()):
        return "this processor is not known to have instructions for it"
    return ""


def resolved(precision: str) -> str:
    """Return the precision that a setting means here: bfloat16 for `auto` if it is available and quicker.

    Raises
    ------
    SettingError
        If bfloat16 is asked for and not available.
    """
    if precision == "auto":
        return "float32" if not_available() or no_help() else "bfloat16"
    if precision == "bfloat16" and not_available():
        raise SettingError(f"precision bfloat16 is not available: {not_available()}; float32 always is")
    return precision
