"""Where clicks come from: files, a topic, the click archive; columns, timestamps and cleaning."""
