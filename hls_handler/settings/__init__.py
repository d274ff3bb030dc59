"""Settings: one YAML file, checked whole, every problem named with its line. See `model` for the keys."""
