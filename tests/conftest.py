"""Makes the fakes (`from fakes.memory_service import MemoryService`), their fixtures and the canary known to all.

Lets no property test fail for its speed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["fakes.service_fixtures", "faults.canary"]

# How long an example takes says how busy the machine is, and nothing about what it shows.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
