"""The document-processing services over HTTP; each one implements `ports.Service`."""
