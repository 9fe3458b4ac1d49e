"""The ledger: what was seen, sent and exported, in a database that survives kill -9 and power loss."""
