"""Suites: the contract, and one module or folder per simulator."""
