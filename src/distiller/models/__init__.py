"""Teachers and students: loading them, building them, reading what they compute, and what they cost."""
