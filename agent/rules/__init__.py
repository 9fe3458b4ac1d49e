"""Pure decisions: no clock, no file system, no network, no database; `now` and randomness are passed in."""
