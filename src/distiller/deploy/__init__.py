"""What a finished run becomes: forms that run anywhere, measurements of them, a card and a page that explain it."""
