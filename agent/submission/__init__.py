"""The way in: detect, settle, check, submit, file away, follow."""
