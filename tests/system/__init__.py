"""System tests: real agent processes, real folders, a real sandbox."""
