"""Where the configuration and the state lie when nobody says otherwise; opens nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_VARIABLE = "FSAGENT_CONFIG"
WINDOWS = os.name == "nt"


def default_path(environment: Mapping[str, str], *, windows: bool = WINDOWS) -> Path:
    """Return the configuration file of this platform."""
    if windows:
        return _program_data(environment) / "fsagent" / "config.yaml"
    return Path("/etc/fsagent/config.yaml")


def find_path(option: str | os.PathLike[str] | None, environment: Mapping[str, str]) -> Path:
    """Return the configuration file to use: the option, else FSAGENT_CONFIG, else the platform's."""
    chosen = option or environment.get(CONFIG_VARIABLE)
    return Path(chosen) if chosen else default_path(environment)


def default_state_dir(environment: Mapping[str, str], *, windows: bool = WINDOWS) -> Path:
    """Return the folder of ledger and lock on this platform."""
    if windows:
        return _program_data(environment) / "fsagent"
    return Path("/var/lib/fsagent")


def _program_data(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("ProgramData") or environment.get("PROGRAMDATA") or r"C:\ProgramData")
