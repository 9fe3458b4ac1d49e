"""The embedded service that `fsagent demo`, `fsagent sandbox` and the tests talk to."""
