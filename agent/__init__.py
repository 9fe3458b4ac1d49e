"""fsagent: watches inbox folders, submits their files to a document-processing service and writes the exports."""

__version__ = "0.1.0"
