"""`python -m lucie` is the command `lucie`."""

from lucie.cli import main

if __name__ == "__main__":
    main()
