"""What trials say: which choice mattered, which was best, by how much. Reads tables, never imports torch."""
