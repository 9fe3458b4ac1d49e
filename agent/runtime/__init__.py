"""Runs the stages: threads, lanes, recovery, lock, signals, requests of the command line; knows no rule."""
