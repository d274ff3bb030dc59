"""Settings: one YAML file. All its problems are reported together, with their lines. See `model` for the keys."""
