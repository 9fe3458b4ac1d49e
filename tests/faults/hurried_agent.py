"""An agent for which the ten minutes a whole request may take are two seconds, so that a test can see them end.

`python hurried_agent.py ARGUMENTS…` runs `fsagent ARGUMENTS…` so.
"""

from __future__ import annotations

from agent.cli import main
from agent.services import http

if __name__ == "__main__":
    http._BASE_ALLOWANCE = 2.0
    main()
