"""The settings file (YAML) and the repository settings file. `model` and `repository` define their keys."""
