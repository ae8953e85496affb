"""The constants of a run as options, for the subcommands that make pictures."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, Dict, Optional

from nst_graph.cli.words import file_name
from nst_graph.settings import GROUPS, OPTIONS, PRESETS, Settings, check_effects, from_options, word_of

if TYPE_CHECKING:
    from nst_graph.record import Record

#: How a picture is called, if nothing else is said; see `nst_graph.worklist.output_of`.
DEFAULT_NAME = "{content}_{style}.png"

#: Where the command differs from the article and from Python: neither the pictures' proportions nor the memory of the
#: machine are known.
_DEFAULTS: Dict[str, Any] = {"size": 400, "strips": "auto"}


def add_constants(parser: argparse.ArgumentParser) -> None:
    """Add the options of all constants, and the presets."""
    defaults = dataclasses.replace(Settings(), **_DEFAULTS)
    for title in GROUPS:
        group = parser.add_argument_group(title)
        if title == OPTIONS["--stages"].metadata["group"]:
            group.add_argument("--preset", metavar="|".join(PRESETS), help=_presets())
        for option, field in OPTIONS.items():
            constant = field.metadata
            if constant["group"] != title:
                continue
            what = constant["what"].replace("%", "%%")  # argparse fills in what follows a %
            names = [option] + (["--" + constant["alias"].replace("_", "-")] if constant["alias"] else [])
            if not constant["takes"]:
                group.add_argument(*names, dest=option, action="store_const", const=True, help=what)
                continue
            default = word_of(field, getattr(defaults, field.name))
            what = what if default == "None" else f"{what} ({default})"
            group.add_argument(*names, dest=option, metavar=constant["takes"], help=what)


def _presets() -> str:
    """Return the presets with the options that they stand for."""
    options = {field.name: option for option, field in OPTIONS.items()}
    return "; ".join(
        f"{name}: " + " ".join(f"{options[constant]} {value}" for constant, value in constants.items())
        for name, constants in PRESETS.items()
    )


def add_settings_from(group: "argparse._ArgumentGroup") -> None:
    """Add the option that takes the settings of another picture."""
    group.add_argument(
        "--settings-from",
        metavar="FILE",
        type=file_name,
        help="take the settings that are stored in a picture, or from `nst-graph show`",
    )


def add_no_memory_check(group: "argparse._ArgumentGroup") -> None:
    """Add the option that makes runs for which there seems to be too little memory."""
    group.add_argument(
        "--no-memory-check", action="store_true", help="run even if the memory that is free seems not to suffice"
    )


def given_constants(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Return the constants that the words of the command line give, by attribute of `Settings`."""
    options = {option: getattr(arguments, option) for option in OPTIONS}
    return from_options({option: text for option, text in options.items() if text is not None})


def settings_for(chosen: Dict[str, Any], record: "Optional[Record]" = None) -> Settings:
    """Return the settings of a run: what was chosen, then what a record has, then the command's defaults.

    Parameters
    ----------
    chosen : dict
        Constants by attribute of `Settings`, those of a preset among them.
    record : Record, optional
        Of another run.

    Raises
    ------
    SettingError
        If the constants do not go together.
    """
    constants = {**_DEFAULTS, **({} if record is None else record.settings), **chosen}
    # Of stages, size, start size and iterations the chosen one holds.
    stages = chosen.get("stages")
    if stages is not None and "size" not in chosen:
        constants["size"] = stages[-1][0]
    if stages is None and {"size", "start_size", "iterations"} & chosen.keys():
        constants["stages"] = None  # those of the record
    settings = Settings(**constants)
    check_effects(settings, chosen)
    return settings
