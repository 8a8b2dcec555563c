"""The commands of `nextclick-trainer`, a module each, wired together in `trainer.__main__`."""
