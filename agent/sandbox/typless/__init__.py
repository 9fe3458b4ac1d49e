"""The embedded service that plays Typless (apis.md section 3)."""
