"""Pictures of how a policy planned: where it looked, what it chose from, what it owes to what it saw."""
