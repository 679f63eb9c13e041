"""`python -m flexseg.cli`."""

from flexseg.cli import main

main()
