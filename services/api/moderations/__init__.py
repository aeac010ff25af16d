"""`/v1/moderations`."""
