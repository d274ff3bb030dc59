"""Settings file and repository settings file: their keys, parsing and validation."""
