"""The promise under faults: crashes, power loss, full disks, dead shares, lying services; run by its own command."""
