"""What deliveries and replies look like to people and programs: as sentences and as JSON."""
