"""The embedded service that plays Send AI (apis.md section 2)."""
