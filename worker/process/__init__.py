"""The process around the loop: stop, watchdog, memory, logging."""
