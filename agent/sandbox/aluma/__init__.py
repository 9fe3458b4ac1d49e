"""The embedded service that plays the Aluma Tasks API (apis.md section 1)."""
