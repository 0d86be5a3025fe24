"""Pushes a blessed model, whole or not at all."""
