"""AutoDistiller (arXiv:2109.11105, section 5): which pipeline to try on a task nobody has tried, from past trials."""
