"""Work: what happens to a delivery after it was claimed, who does it, and when it is tried again."""
