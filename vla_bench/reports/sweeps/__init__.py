"""What a finished sweep shows: its results, table, findings and figures."""
