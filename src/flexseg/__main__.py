"""`python -m flexseg` is `flexseg`."""

from flexseg.cli import main

main()
