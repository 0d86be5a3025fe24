"""Configuration, wiring, runners and command line. Imports nothing by itself."""
