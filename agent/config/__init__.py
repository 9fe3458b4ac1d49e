"""The YAML configuration: schema, loading with line numbers, defaults and the commented sample."""
