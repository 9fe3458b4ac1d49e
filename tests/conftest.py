"""Makes the fakes (`from fakes.memory_service import MemoryService`), their fixtures and the canary known to all.

Lets no property test fail for its speed, and says how many workers `-n auto` are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["fakes.service_fixtures", "faults.canary"]

# How long an example takes says how busy the machine is, and nothing about what it shows.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for two processors: most tests wait for processes, files and requests."""
    processors = os.cpu_count() or 1
    return processors + processors // 2
