"""Studies: many runs over a space of pipelines, kept in one place, each point run once."""
