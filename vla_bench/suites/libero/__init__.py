"""LIBERO as a suite, over the package hf-libero."""
