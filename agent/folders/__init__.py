"""The file system: watching, scanning, reading safely, filing and publishing."""
