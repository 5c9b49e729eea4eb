"""`python -m distiller` is the command `distiller`."""

from distiller.cli import main

if __name__ == "__main__":
    main()
