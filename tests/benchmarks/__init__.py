"""Measurements against what else does the same work; run by hand, collected by nobody."""
