"""What is computed once and read again: folders by facts, rows by key, a teacher's outputs."""
