"""The commands of `nextclick-trainer`, a module each, put together in `trainer.commands.cli`."""
