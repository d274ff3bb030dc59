"""Random schedules of events, faults and kills, and what has to be true after every one of them."""
