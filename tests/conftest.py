"""Makes the fakes (`from fakes.memory_service import MemoryService`), their fixtures and the canary known to all."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["fakes.service_fixtures", "faults.canary"]
