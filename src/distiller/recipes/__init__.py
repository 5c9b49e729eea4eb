"""Runs to copy and edit: one YAML file each, listed by `distiller recipes`."""
