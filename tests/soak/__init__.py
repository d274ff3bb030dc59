"""Random schedules of events, faults and signals, and the invariants that must hold after each of them."""
