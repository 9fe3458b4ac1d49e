"""Makes `python -m agent` the same as `fsagent`."""

from agent.cli import main

if __name__ == "__main__":
    main()
