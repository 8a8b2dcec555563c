"""The commands of `nextclick-trainer`, one module each; `trainer.commands.cli` assembles them."""
