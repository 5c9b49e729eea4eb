"""A page on this machine: finished runs and studies, and one text to every model of a run."""
