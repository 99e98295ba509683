"""Reports: tables and intervals, computed from run folders."""
